# Handles, working directories and descriptors that are older than the change.
load helpers

@test "a shell at work in src sees what another process writes there" {
  in_branch <<'EOF'
cd src
(cd / && echo first >/work/src/one)
is "$(cat one)" first "a new file"
(cd / && sed -i s/built/changed/ /work/src/main.c)
grep -q changed main.c || fail "a changed file"
(cd / && rm /work/src/util.h)
[[ ! -e util.h ]] || fail "a deleted file"
(cd /work && echo deep >src/deep/two)
is "$(cat deep/two)" deep "in a subdirectory"
is "$(ls | tr '\n' ' ')" "Makefile deep main.c one util.c " ls
echo mine >three
is "$(cat /work/src/three)" mine "what the shell writes itself"
cd ..
is "$(/bin/pwd)" /work "cd .."
EOF
}

@test "another process of the container, started before, sees it as well" {
  # It looks when it is told to: signals cross between the Landlock domains of two execs, /proc/1/cwd does not.
  start "$ID" /bin/bash -c 'trap "cat new >seen; test ! -e er/file && echo gone >>seen" USR1
    cd /work/src/deep && echo ready >/work/ready && while :; do sleep 0.1; done'
  eventually exec_in "$ID" test -e /work/ready
  bash_in "$ID" <<'EOF'
cd src/deep
echo by-exec >new
rm er/file
kill -USR1 1
for ((i = 0; i < 100 && $(wc -l 2>/dev/null <seen || echo 0) < 2; i++)); do sleep 0.05; done
is "$(cat seen)" $'by-exec\ngone' "what the other one sees in its working directory"
EOF
  remove "$ID"
}

@test "a handle opened before the first write sees it afterwards" {
  python_in_branch <<'EOF'
import subprocess
src, deep, path_handle = (os.open(p, f) for p, f in (
    ("src", os.O_RDONLY), ("src/deep", os.O_RDONLY | os.O_DIRECTORY), ("src", os.O_PATH | os.O_DIRECTORY)))
subprocess.run(["sh", "-c", "echo new >/work/src/new; echo deeper >/work/src/deep/new; rm /work/src/util.c; echo changed >/work/src/util.h"])
for handle in src, path_handle:
    same(read("new", dir_fd=handle), "new\n", "openat of a new file")
    same(read("util.h", dir_fd=handle), "changed\n", "openat of a changed file")
    same(os.stat("new", dir_fd=handle).st_ino, os.stat("src/new").st_ino, "fstatat")
    refused("ENOENT", os.open, "util.c", os.O_RDONLY, dir_fd=handle)
    refused("ENOENT", os.stat, "util.c", dir_fd=handle)
    refused("ENOENT", os.readlink, "util.c", dir_fd=handle)
    check(os.access("new", os.R_OK, dir_fd=handle), "faccessat")
    same(read("deep/new", dir_fd=handle), "deeper\n", "below it")
same(read("new", dir_fd=deep), "deeper\n", "a handle below")
check("new" in os.listdir(src) and "util.c" not in os.listdir(src), "getdents")
check("new" in os.listdir(deep), "getdents below")
ran = subprocess.run(["launch", "at", "x"], cwd="src", capture_output=True, text=True)
same(ran.stdout, "at x: ENOENT\n", "execveat")
EOF
}

@test "changes through a handle" {
  python_in_branch <<'EOF'
src = os.open("src", os.O_RDONLY)
many = os.open("many", os.O_PATH | os.O_DIRECTORY)
deep = os.open("src/deep", os.O_RDONLY)
write("made", "x", dir_fd=src)
same(read("src/made"), "x", "openat with O_CREAT")
write("1", "changed", dir_fd=many)
same(read("many/1"), "changed", "openat with O_TRUNC on an O_PATH handle")
os.mkdir("dir", dir_fd=src)
os.unlink("util.c", dir_fd=src)
os.rename("main.c", "moved.c", src_dir_fd=src, dst_dir_fd=deep)
check(os.path.exists("src/deep/moved.c") and not os.path.exists("src/main.c"), "renameat between two handles")
os.rename("2", "two", src_dir_fd=many, dst_dir_fd=many)
os.symlink("two", "sym", dir_fd=many)
os.link("two", "hard", src_dir_fd=many, dst_dir_fd=many)
same((read("many/sym"), read("many/hard")), ("file 2\n",) * 2, "symlinkat and linkat")
os.chmod("3", 0o600, dir_fd=many)
os.chown("3", 7, 7, dir_fd=many)
os.utime("3", ns=(1, 2), dir_fd=many)
st = os.stat("many/3")
same((st.st_mode & 0o777, st.st_uid, st.st_mtime_ns), (0o600, 7, 2), "fchmodat, fchownat, utimensat")
os.mkfifo("pipe", dir_fd=deep)
os.rmdir("dir", dir_fd=src)
os.unlink("er/file", dir_fd=deep)
os.rmdir("er", dir_fd=deep)
same(sorted(os.listdir("src/deep")), ["moved.c", "pipe"], "src/deep")
same(sorted(os.listdir("src")), ["Makefile", "deep", "made", "util.h"], "src")
os.fchmod(src, 0o700)
same(os.stat("src").st_mode & 0o777, 0o700, "fchmod of the handle")
os.fchdir(deep)
write("here", "x")
same((os.getcwd(), read("/work/src/deep/here")), ("/work/src/deep", "x"), "fchdir")
same(sorted(os.listdir(deep)), ["here", "moved.c", "pipe"], "getdents of the handle")
same(os.stat("..", dir_fd=deep).st_ino, os.stat("/work/src").st_ino, "..")
EOF
}

@test "a descriptor keeps its file through copy-up, rename and deletion" {
  python_in_branch <<'EOF'
fd = os.open("README", os.O_RDONLY)
os.chmod("README", 0o600)
same(os.pread(fd, 100, 0), b"a lower file\n", "a descriptor that is older than the copy")
fd = os.open("many/1", os.O_RDWR)
os.rename("many/1", "src/one")
os.pwrite(fd, b"XX", 0)
same(read("src/one"), "XXle 1\n", "written after a rename")
os.unlink("src/one")
os.pwrite(fd, b"YY", 0)
same(os.pread(fd, 100, 0), b"YYle 1\n", "written after the deletion")
same(os.fstat(fd).st_nlink, 0, "no name left")
fd = os.open("many/2", os.O_RDONLY)
os.unlink("many/2")
same(os.pread(fd, 100, 0), b"file 2\n", "a deleted lower file that is open")
import mmap
with open("bin/echo", "rb") as file:
    map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    os.rename("README", "bin/echo")
    same(map[1:4], b"ELF", "a mapping of the lower file")
EOF
}

@test "a descriptor of a lower file finds its copy by whatever name that has by now" {
  python_in_branch <<'EOF'
fd = os.open("README", os.O_RDONLY)
write("README", "+", os.O_WRONLY | os.O_APPEND)
os.rename("README", "src/moved")
os.fchmod(fd, 0o600)
same(os.stat("src/moved").st_mode & 0o777, 0o600, "fchmod after copy-up and rename")
fd = os.open("bin/echo", os.O_RDONLY)
os.chmod("bin/echo", 0o700)
os.rename("bin", "bin2")
os.rename("bin2/echo", "echo")
os.fchmod(fd, 0o711)
same(os.stat("echo").st_mode & 0o777, 0o711, "and after its directory was renamed")
same(os.spawnl(os.P_WAIT, "echo", "echo", "it runs"), 0, "the copy is open for no writing")
fd = os.open("private", os.O_RDONLY)
os.chmod("private", 0o640)
os.unlink("private")
write("private", "another")
os.fchmod(fd, 0o600)
same(os.stat("private").st_mode & 0o777, 0o644, "another file of that name")
EOF
}

@test "/dev/stdin, /proc/self/fd/N and /proc/self/exe after copy-up and after a split" {
  in_branch <<'EOF'
is "$(cat /dev/stdin <README)" "a lower file" "/dev/stdin untouched"
exec 5<README 6<src/deep/er/file 7<bin/script
chmod 0600 README
echo x >src/deep/er/new
echo x >bin/new
is "$(cat /proc/self/fd/5)" "a lower file" "/proc/self/fd after copy-up"
is "$(cat /dev/fd/6)" deep "/dev/fd after the directory was split"
is "$(cat /dev/stdin <&6)" deep "/dev/stdin after the directory was split"
echo changed >README
is "$(cat /dev/stdin <README)" changed "/dev/stdin of the changed file"
is "$(readlink /proc/self/fd/7)" /work/bin/script "the path of a descriptor"
is "$(cat /proc/self/fd/7 | head -n 1)" '#!/bin/sh' "and its content"
cp /bin/bash src/deep/shell
for shell in src/deep/shell bin/lowershell; do
  [[ $shell != bin/lowershell ]] || cp /bin/bash bin/lowershell
  is "$("$shell" -c 'echo y >>"${0%/*}/beside"; readlink /proc/self/exe' | head -n 1)" "/usr/bin/readlink" "a child"
  is "$("$shell" -c 'readlink /proc/$$/exe; :' x)" "/work/$shell" "/proc/PID/exe"
done
EOF
}

@test "a running lower program starts itself anew after its file was copied up or its directory split" {
  cp /bin/bash "$LOWER/bin/shell"
  in_branch <<'EOF'
cat >again <<'SCRIPT'
case $1 in
split) echo x >/work/bin/beside ;;
copied) chmod 0700 /work/bin/shell ;;
esac
[[ $(readlink /proc/$$/exe) == "/work/bin/shell" ]] || echo "exe: $(readlink /proc/$$/exe)"
exec /proc/self/exe -c 'echo "again: $(readlink /proc/$$/exe)"'
SCRIPT
for what in untouched split copied; do
  is "$(bin/shell again "$what")" "again: /work/bin/shell" "$what"
done
EOF
}

@test "locks: exclusion between processes on a file of the branch" {
  python_in_branch <<'EOF'
import fcntl, subprocess
for name in "README", "new", "src/deep/er/file":
    with open(name, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = subprocess.run(["flock", "-n", name, "true"])
        same(ran.returncode, 1, f"flock of {name} elsewhere")
    with open(name, "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        code = f"import fcntl; fcntl.lockf(open('{name}', 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        ran = subprocess.run(["/usr/bin/python3", "-c", code], capture_output=True)
        same(ran.returncode, 1, f"lockf of {name} elsewhere")
EOF
}

@test "what is swapped keeps its flags, its position and its duplicates" {
  python_in_branch <<'EOF'
import fcntl, resource, subprocess
handle = os.open("src", os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_NOATIME | os.O_NOFOLLOW)
copy = fcntl.fcntl(handle, fcntl.F_DUPFD, 100)      # without close-on-exec
high = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 200)
other = os.open("src", os.O_RDONLY)
files = [os.open("README", os.O_RDONLY), os.open("many/1", os.O_RDONLY | os.O_NOATIME)]
os.lseek(files[0], 3, os.SEEK_SET)
state = [(n, fcntl.fcntl(n, fcntl.F_GETFL), fcntl.fcntl(n, fcntl.F_GETFD)) for n in (handle, copy, high, other, *files)]
write("src/new", "x")
os.fchmod(files[0], 0o600)
os.fchmod(files[1], 0o600)
for n, flags, fd_flags in state:
    same((fcntl.fcntl(n, fcntl.F_GETFL), fcntl.fcntl(n, fcntl.F_GETFD)), (flags, fd_flags), f"flags of {n}")
same(os.read(files[0], 5), b"ower ", "position")
for n in handle, copy, high, other:
    same(os.fstat(n).st_ino, os.stat("src").st_ino, f"{n} is the directory as it is now")
names = sorted(os.listdir(copy))
same(names, ["Makefile", "deep", "main.c", "new", "util.c", "util.h"], "the duplicate")
os.lseek(copy, 1, os.SEEK_SET)
same(os.lseek(handle, 0, os.SEEK_CUR), 1, "the position is shared")
same(os.lseek(other, 0, os.SEEK_CUR), 0, "but not with who opened it by itself")
os.lseek(high, 0, os.SEEK_SET)
same(os.lseek(copy, 0, os.SEEK_CUR), 0, "and set for all")
ran = subprocess.run(["ls", f"/proc/self/fd/{copy}/"], close_fds=False, capture_output=True, text=True)
same(ran.stdout.split(), names, "inherited by a program")
EOF
}

@test "handles of threads, of children, and passed over a socket" {
  python_in_branch <<'EOF'
import array, socket, threading
src, deep, many = (os.open(p, os.O_RDONLY) for p in ("src", "src/deep", "many"))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
pid = os.fork()
if pid == 0:
    # Those that it inherited, after the parent's changes, and one that was on its way during them.
    _, ancillary, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
    passed = array.array("i", ancillary[0][2])[0]
    theirs.recv(1)
    same(read("new", dir_fd=src), "x", "inherited")
    refused("ENOENT", os.stat, "er/file", dir_fd=deep)
    same(read("new", dir_fd=passed), "y", "passed")
    os.unlink("2", dir_fd=passed)
    write("by-child", "z", dir_fd=src)
    same(sorted(os.listdir(deep)), ["er"], "listed by the child")
    sys.stdout.flush()
    import scenario
    os._exit(1 if scenario.failed else 0)
again = os.open("many", os.O_RDONLY)
ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [again]))])
os.close(again)
write("src/new", "x")
write("many/new", "y")
os.unlink("src/deep/er/file")
ours.send(b"y")
same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, "the child")
refused("ENOENT", os.stat, "2", dir_fd=many)
same(read("by-child", dir_fd=src), "z", "what the child made")

problems = []
def worker(number):
    handle = os.open("bin", os.O_RDONLY)
    try:
        for i in range(50):
            name = f"t{number}-{i}"
            write(name, name, dir_fd=handle)
            if read(name, dir_fd=handle) != name or name not in os.listdir("bin"):
                problems.append(name)
    except OSError as error:
        problems.append(str(error))
    os.close(handle)
threads = [threading.Thread(target=worker, args=(n,)) for n in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
same(problems, [], "threads")
same(len(os.listdir("bin")), 302, "files of the threads")
EOF
}

@test "fchdir to handles from before and after the first write" {
  python_in_branch <<'EOF'
src, er, path = os.open("src", os.O_RDONLY), os.open("src/deep/er", os.O_RDONLY), os.open("many", os.O_PATH)
write("src/new", "x")
os.fchdir(src)
same((os.getcwd(), read("new")), ("/work/src", "x"), "a stale one")
os.fchdir(er)
os.rename("/work/src/deep", "/work/deep")
write("made", "y")
same((os.getcwd(), read("/work/deep/er/made")), ("/work/deep/er", "y"), "one that was renamed since")
os.fchdir(path)
os.unlink("1")
same((os.getcwd(), len(os.listdir("."))), ("/work/many", 19), "O_PATH")
os.fchdir(src)
same(os.stat("..").st_ino, os.stat("/work").st_ino, "and up")
EOF
}

@test "a directory that was opened by the way through a stale handle: what is made in it is made in the branch" {
  python_in_branch <<'EOF'
handle = os.open("src/deep", os.O_RDONLY)
child = os.fork()
if child == 0: # it is stale after that, and not replaced: no call of this process uses it
    write("src/new", "x")
    write("src/deep/new", "y")
    os._exit(0)
same(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "the child")
above = os.open(f"/proc/self/fd/{handle}/..", os.O_RDONLY | os.O_DIRECTORY)
write("made", "m", dir_fd=above)
os.mkdir("directory", dir_fd=above)
os.unlink("util.c", dir_fd=above)
os.fchdir(os.open(f"/proc/self/fd/{handle}/..", os.O_RDONLY | os.O_DIRECTORY))
write("by-cwd", "c")
os.chdir("/work")
same((read("src/made"), read("src/by-cwd"), os.path.isdir("src/directory"), os.path.exists("src/util.c")), ("m", "c", True, False), "src")
same(sorted(os.listdir(above)), sorted(os.listdir("src")), "both ways")
EOF
}

@test "O_PATH handles of an ordinary user: on directories that it may search, but not read" {
  mkdir -p "$LOWER"/searchable/{in,mine}
  echo x | tee "$LOWER"/searchable/{file,in/file,mine/file} >/dev/null
  chown -R 1000:1000 "$LOWER"/searchable/mine "$LOWER"/own
  chmod 0711 "$LOWER"/searchable "$LOWER"/searchable/in
  chmod 0755 "$LOWER"/searchable/mine
  USER_IDS=1000:1000
  python_in_branch <<'EOF'
top, inner, mine = (os.open(p, os.O_PATH) for p in ("searchable", "searchable/in", "searchable/mine"))
refused("EACCES", os.open, "searchable", os.O_RDONLY)
write("searchable/mine/new", "y") # all three are stale now
same(read("file", dir_fd=mine), "x\n", "one that it may read")
write("more", "z", dir_fd=mine)
same(sorted(os.listdir("searchable/mine")), ["file", "more", "new"], "made by the handle")
same((read("file", dir_fd=top), read("file", dir_fd=inner)), ("x\n", "x\n"), "those that it may not")
refused("EACCES", os.open, "made", os.O_WRONLY | os.O_CREAT, dir_fd=top)
refused("EACCES", os.fchdir, top)
refused("EACCES", os.open, ".", os.O_RDONLY, dir_fd=top)
EOF
}

# bats test_tags=cowrun
@test "known limit: an O_PATH handle on a directory that its holder may not read stays on the lower's" {
  mkdir "$LOWER"/searchable
  chown 1000:1000 "$LOWER"/searchable
  chmod 0311 "$LOWER"/searchable
  USER_IDS=1000:1000
  python_in_branch <<'EOF'
top = os.open("searchable", os.O_PATH)
write("searchable/new", "y")
refused("ENOENT", os.stat, "new", dir_fd=top)
refused("EACCES", os.open, "made", os.O_WRONLY | os.O_CREAT, dir_fd=top)
refused("EACCES", os.fchdir, top)
same(read("searchable/new"), "y", "by its path")
EOF
}
