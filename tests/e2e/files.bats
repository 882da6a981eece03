# Files made, changed and deleted in the branch.
load helpers

# bats test_tags=rootful
@test "readdir tells every entry's type" {
  [[ ! $ROOTLESS ]] || rm "$LOWER"/kinds/{fifo,null} # a known limit there
  python_in_branch <<'EOF'
import stat
kinds = {"fifo": stat.S_IFIFO, "null": stat.S_IFCHR, "link": stat.S_IFLNK, "hard1": stat.S_IFREG}

def types(path):
    # What readdir(3) says, without a look at the inode.
    return {entry.name: (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False), entry.is_symlink())
            for entry in os.scandir(path)}

before = types("kinds"), types("."), types("src")
for path in ["kinds/new", "new", "src/new"]:
    write(path, "")
    os.unlink(path)
same((types("kinds"), types("."), types("src")), before, "types after the split")
for name in kinds.keys() & set(os.listdir("kinds")):
    same(stat.S_IFMT(os.lstat("kinds/" + name).st_mode), kinds[name], f"stat of {name}")
EOF
}

@test "a created file is there for stat, statx, ls, test and readdir" {
  in_branch <<'EOF'
echo hello >new
agree new src/main.c README
[[ -f new && -r new && -w new && -s new && ! -x new ]] || fail "test"
is "$(stat -c %s:%F new)" "6:regular file" stat
[[ $(ls -l new) == -rw-r--r--*new ]] || fail "ls -l: $(ls -l new)"
[[ " $(echo *) " == *" new "* ]] || fail "glob: $(echo *)"
echo deep >src/deep/new
agree src/deep/new src/deep src/deep/er
is "$(cat src/deep/new)" deep content
EOF
  branch_is "$ID" "A new" "A src/deep/new"
}

@test "modes of created entries are those asked for, less the umask" {
  python_in_branch <<'EOF'
for umask, asked, want in (0o022, 0o755, 0o755), (0o022, 0o777, 0o755), (0o077, 0o666, 0o600), (0, 0o600, 0o600), (0o027, 0o4755, 0o4750):
    os.umask(umask)
    for where in "", "src/", "src/deep/er/":
        name = f"{where}f{umask:o}-{asked:o}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, asked))
        same(f"{os.stat(name).st_mode & 0o7777:o}", f"{want:o}", name)
        os.mkdir(name + ".d", asked)
        same(f"{os.stat(name + '.d').st_mode & 0o777:o}", f"{want & 0o777:o}", name + ".d")
        os.mkfifo(name + ".p", asked)
        same(f"{os.stat(name + '.p').st_mode & 0o777:o}", f"{want & 0o777:o}", name + ".p")
os.umask(0o022)
os.close(os.open("own/made", os.O_CREAT | os.O_WRONLY, 0o644))
same(os.stat("own/made").st_gid, 1000, "the group of a file made in a set-group-id directory")
os.mkdir("own/dir")
same(os.stat("own/dir").st_mode & 0o7777, 0o2755, "a directory made in it")
EOF
}

@test "append to a lower file" {
  in_branch <<'EOF'
echo more >>README
is "$(cat README)" $'a lower file\nmore' content
for i in {1..50}; do echo "$i" >>many/7; done
is "$(wc -l <many/7)" 51 lines
agree README many/7
EOF
  branch_is "$ID" "M README" "M many/7"
}

@test "overwrite, truncate and write in the middle of lower files" {
  python_in_branch <<'EOF'
write("README", "short")
same(read("README"), "short", "O_TRUNC")
write("many/1", "X", os.O_RDWR)
same(read("many/1"), "Xile 1\n", "O_RDWR")
os.truncate("many/2", 3)
same(read("many/2"), "fil", "truncate")
fd = os.open("many/3", os.O_RDWR)
os.ftruncate(fd, 2)
os.pwrite(fd, b"ZZ", 4)
os.close(fd)
same(read("many/3"), "fi\0\0ZZ", "ftruncate and pwrite")
os.close(os.open("many/4", os.O_RDONLY | os.O_TRUNC))
same(read("many/4"), "", "O_RDONLY with O_TRUNC")
import mmap
with open("many/5", "r+b") as file, mmap.mmap(file.fileno(), 0) as map:
    map[0:1] = b"M"
same(read("many/5"), "Mile 5\n", "shared mapping")
EOF
  branch_is "$ID" "M README" "M many/1" "M many/2" "M many/3" "M many/4" "M many/5"
}

@test "a deleted lower file is gone for stat, open, access, readlink, exec and readdir" {
  python_in_branch <<'EOF'
import subprocess
for name in "README", "bin/script", "bin/echo", "kinds/link", "src/deep/er/file", "kinds/fifo", "kinds/null":
    os.unlink(name)
    directory, last = os.path.split(name)
    handle = os.open(directory or ".", os.O_RDONLY)
    for path, options in (name, {}), ("/work/" + name, {}), (last, {"dir_fd": handle}):
        refused("ENOENT", os.stat, path, follow_symlinks=False, **options)
        refused("ENOENT", os.open, path, os.O_RDONLY, **options)
        refused("ENOENT", os.open, path, os.O_WRONLY, **options)
        refused("ENOENT", os.readlink, path, **options)
        refused("ENOENT", os.unlink, path, **options)
        refused("ENOENT", os.chmod, path, 0o644, **options)
        refused("ENOENT", os.utime, path, **options)
        check(not os.access(path, os.F_OK, **options), f"access {path}")
        check(not os.access(path, os.W_OK, **options), f"access {path}")
    refused("ENOENT", os.execv, "./" + name, [name])
    refused("ENOENT", os.rename, name, "elsewhere")
    refused("ENOENT", os.link, name, "elsewhere")
    refused("ENOENT", os.truncate, name, 0)
    refused("ENOENT", os.listxattr, name)
    check(last not in os.listdir(directory or "."), f"{name} is listed")
for how in "exec", "vfork", "spawn":
    ran = subprocess.run(["launch", how, "bin/echo"], capture_output=True, text=True)
    same((ran.returncode, ran.stdout), (127, f"{how} bin/echo: ENOENT\n"), how)
EOF
  branch_is "$ID" "D README" "D bin/echo" "D bin/script" "D kinds/fifo" "D kinds/link" "D kinds/null" "D src/deep/er/file"
}

@test "delete and make again, as a file and as another type" {
  python_in_branch <<'EOF'
os.unlink("README")
write("README", "again")
same(read("README"), "again", "README")
os.unlink("many/1")
os.mkdir("many/1")
write("many/1/inner", "x")
same(os.listdir("many/1"), ["inner"], "a directory in a file's place")
os.unlink("src/deep/er/file")
os.rmdir("src/deep/er")
write("src/deep/er", "now a file")
same(read("src/deep/er"), "now a file", "a file in a directory's place")
os.rmdir("empty")
os.mkdir("empty")
same(os.listdir("empty"), [], "an empty directory again")
os.unlink("many/2")
os.symlink("3", "many/2")
same(read("many/2"), "file 3\n", "a link in a file's place")
EOF
  [[ ${COWRUN_TEST_PLAIN-} ]] || grep -qx $'M\tREADME' <<<"$(branch diff --name-status "$ID")"
}

@test "readdir shows the merged tree once" {
  python_in_branch <<'EOF'
def names(path):
    listed = [(entry.name, entry.inode(), entry.is_dir(follow_symlinks=False)) for entry in os.scandir(path)]
    for name, inode, isdir in listed:
        st = os.lstat(os.path.join(path, name))
        # The inode of a mount point in readdir is that of what it covers, on every file system; the type must fit.
        check(isdir == (st.st_mode & 0o170000 == 0o040000), f"type of {path}/{name}")
    return sorted(name for name, _, _ in listed)

lower = sorted(str(i) for i in range(1, 21))
same(names("many"), lower, "untouched")
write("many/new", "x")
same(names("many"), sorted(lower + ["new"]), "with a new file")
write("many/7", "changed")
same(names("many"), sorted(lower + ["new"]), "with a changed file")
os.unlink("many/9")
os.rename("many/10", "many/ten")
os.mkdir("many/dir")
want = sorted(set(lower) - {"9", "10"} | {"new", "ten", "dir"})
same(names("many"), want, "with all of it")
same(sorted(os.listdir(os.open("many", os.O_RDONLY))), want, "by a handle")
same(names("."), sorted(["README", "bin", "empty", "kinds", "many", "own", "private", "src"]), "the root")
for i in range(300):
    write(f"many/extra{i:03}", "")
listed = os.listdir("many")
same(len(listed), len(set(listed)), "no name twice")
same(len(listed), len(want) + 300, "all names")
EOF
}

@test "copy-up keeps owner, mode, times, extended attributes, access lists and holes" {
  python_in_branch <<'EOF'
def seen(path):
    st = os.lstat(path)
    return st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, st.st_size, {
        name: os.getxattr(path, name) for name in os.listxattr(path)}

for name in "kinds/xattr", "own/file", "private", "bin/script":
    before = seen(name)
    os.close(os.open(name, os.O_WRONLY))
    same(seen(name), before, name + " after O_WRONLY")
before = seen("kinds/sparse")
os.close(os.open("kinds/sparse", os.O_RDWR))
same(seen("kinds/sparse"), before, "sparse")
check(os.stat("kinds/sparse").st_blocks < 256, f"holes: {os.stat('kinds/sparse').st_blocks} blocks")
os.chmod("many/1", 0o600)
same(os.stat("many/1").st_mtime_ns, 1577934245678901234, "the time after chmod")
same(read("many/1"), "file 1\n", "content after chmod")
os.chown("many/2", 1000, 1000)
same(os.stat("many/2").st_mode & 0o777, 0o644, "the mode after chown")
same((os.stat("many").st_mtime_ns, os.stat("src").st_mtime_ns), (1577934245678901234,) * 2, "times of the directories")
EOF
}

@test "changes of attributes alone" {
  python_in_branch <<'EOF'
os.chmod("README", 0o755)
os.chmod("src", 0o700)
os.utime("private", ns=(1, 2_000_000_003))
same(os.stat("private").st_mtime_ns, 2_000_000_003, "utime")
os.utime("src/deep", ns=(5, 6_000_000_000))
same(os.stat("src/deep").st_mtime_ns, 6_000_000_000, "utime of a directory")
os.chown("src/deep/er/file", 12, 34)
same((os.stat("src/deep/er/file").st_uid, os.stat("src/deep/er/file").st_gid), (12, 34), "chown")
os.lchown("kinds/link", 12, 34)
same(os.lstat("kinds/link").st_uid, 12, "lchown of a link")
os.setxattr("many/1", "user.new", b"v")
same(os.getxattr("many/1", "user.new"), b"v", "setxattr")
os.removexattr("kinds/xattr", "user.kept")
check("user.kept" not in os.listxattr("kinds/xattr"), "removexattr")
fd = os.open("many/2", os.O_RDONLY)
os.fchmod(fd, 0o640)
same(os.stat("many/2").st_mode & 0o777, 0o640, "fchmod of a descriptor open for reading")
os.fchown(fd, 5, 5)
os.setxattr(fd, "user.fd", b"w")
same((os.stat("many/2").st_uid, os.getxattr("many/2", "user.fd")), (5, b"w"), "fchown and fsetxattr")
os.setxattr("src", "user.dir", b"d")
same(os.getxattr("src", "user.dir"), b"d", "setxattr of a directory")
EOF
}

@test "errors are those of a plain directory" {
  python_in_branch <<'EOF'
refused("EEXIST", os.open, "README", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
refused("EISDIR", os.open, "src", os.O_WRONLY)
refused("EISDIR", os.open, "src", os.O_RDWR | os.O_CREAT)
refused("ENOTDIR", os.open, "README/x", os.O_WRONLY)
refused("ENOTDIR", os.open, "README", os.O_WRONLY | os.O_DIRECTORY)
refused("ENOENT", os.open, "src/none", os.O_WRONLY)
refused("ENOENT", os.open, "none/none", os.O_WRONLY | os.O_CREAT)
refused("ENOENT", os.open, "", os.O_WRONLY)
refused("ELOOP", os.open, "kinds/link", os.O_WRONLY | os.O_NOFOLLOW)
refused("ENOENT", os.open, "kinds/dangling", os.O_WRONLY)
refused("ENXIO", os.open, "kinds/fifo", os.O_WRONLY | os.O_NONBLOCK)
refused("ENAMETOOLONG", os.open, "x" * 256, os.O_WRONLY | os.O_CREAT)
refused("ok", os.open, "README", os.O_RDONLY | os.O_CREAT)
refused("EEXIST", os.mkdir, "src")
refused("EEXIST", os.mkdir, "src/deep")
refused("EEXIST", os.mkdir, "README")
refused("EEXIST", os.symlink, "x", "README")
refused("EEXIST", os.mkfifo, "README")
refused("EISDIR", os.unlink, "src")
refused("EISDIR", os.unlink, "src/deep")
refused("ENOTDIR", os.rmdir, "README")
refused("ENOTDIR", os.rmdir, "src/main.c")
refused("ENOTEMPTY", os.rmdir, "src")
refused("ENOTEMPTY", os.rmdir, "src/deep")
refused("ENOENT", os.rmdir, "none")
refused("EINVAL", os.rmdir, "src/.")
refused("ENOENT", os.unlink, "src/none")
refused("ENOENT", os.rename, "src/none", "x")
refused("EISDIR", os.rename, "README", "src")
refused("ENOTDIR", os.rename, "src", "README")
refused("ENOTEMPTY", os.rename, "src", "many")
refused("EINVAL", os.rename, "src", "src/deep/x")
refused("EBUSY", os.rename, ".", "x")
refused("EPERM", os.link, "src", "x")
refused("EEXIST", os.link, "README", "private")
refused("ENOENT", os.link, "none", "x")
refused("EINVAL", os.readlink, "README")
refused("ENODATA", os.getxattr, "README", "user.none")
refused("ENODATA", os.removexattr, "README", "user.none")
refused("ENOENT", os.truncate, "src/none", 0)
refused("EISDIR", os.truncate, "src", 0)
refused("EINVAL", os.truncate, "README", -1)
refused("ENOENT", os.chmod, "src/none", 0o600)
refused("ENOTDIR", os.chdir, "README")
refused("ENOENT", os.chdir, "src/none")
same(read("README"), "a lower file\n", "README")
EOF
  branch_is "$ID" ""
}

@test "links: made, replaced, written through" {
  python_in_branch <<'EOF'
os.symlink("README", "sym")
same(read("sym"), "a lower file\n", "a new link")
write("kinds/link", "+", os.O_WRONLY | os.O_APPEND)
same(read("README"), "a lower file\n+", "written through a lower link")
os.unlink("kinds/link")
os.symlink("../private", "kinds/link")
same(os.readlink("kinds/link"), "../private", "a link made again")
write("kinds/dangling", "made")
same(read("kinds/nowhere"), "made", "O_CREAT through a dangling link")
write("kinds/dirlink/viadir", "x")
same(read("src/viadir"), "x", "through a link to a directory")
os.link("many/1", "many/1b")
same(read("many/1b"), "file 1\n", "hard link of a lower file")
write("many/1b", "+", os.O_WRONLY | os.O_APPEND)
same(read("many/1"), "file 1\n+", "both names have the new content")
check(os.path.samefile("many/1", "many/1b"), "one inode")
same(os.stat("many/1").st_nlink, 2, "two links")
EOF
}

@test "fifos, sockets, device nodes, unnamed files" {
  python_in_branch <<'EOF'
import socket, stat, threading
os.mkfifo("src/pipe")
check(stat.S_ISFIFO(os.stat("src/pipe").st_mode), "mkfifo")
reader = threading.Thread(target=lambda: same(open("src/pipe").read(), "through", "fifo"))
reader.start()
write("src/pipe", "through", os.O_WRONLY)
reader.join()
reader = threading.Thread(target=lambda: same(open("kinds/fifo").read(), "lower", "lower fifo"))
reader.start()
write("kinds/fifo", "lower", os.O_WRONLY)
reader.join()
for name in "root.sock", "src/deep/socket":
    server = socket.socket(socket.AF_UNIX)
    server.bind(name)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect("/work/" + name)
    client.send(b"hi")
    same(server.accept()[0].recv(2), b"hi", name)
    check(stat.S_ISSOCK(os.stat(name).st_mode), "socket node")
fd = os.open("src/deep/er", os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(fd, b"unnamed")
here = os.open(".", os.O_RDONLY)  # without a handle, Python calls link, which follows nothing
os.link(f"/proc/self/fd/{fd}", "src/deep/er/named", src_dir_fd=here, follow_symlinks=True)
same((read("src/deep/er/named"), os.stat("src/deep/er/named").st_mode & 0o777), ("unnamed", 0o640), "O_TMPFILE")
write("kinds/null", "away", os.O_WRONLY)
EOF
}

@test "as an ordinary user: permissions are checked first, and a refused call changes nothing" {
  USER_IDS=1000:1000
  python_in_branch <<'EOF'
for flags in os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND | os.O_CREAT:
    refused("EACCES", os.open, "README", flags)
refused("EACCES", os.open, "private", os.O_RDONLY)
refused("EACCES", os.open, "new", os.O_WRONLY | os.O_CREAT)
refused("EACCES", os.unlink, "README")
refused("EACCES", os.unlink, "src/main.c")
refused("EACCES", os.mkdir, "src/new")
refused("EACCES", os.rename, "README", "x")
refused("EACCES", os.rmdir, "empty")
refused("EPERM", os.chmod, "README", 0o777)
refused("EPERM", os.chown, "README", 1000, 1000)
refused("EPERM", os.utime, "README", (1, 1))
refused("EACCES", os.truncate, "README", 0)
refused("EACCES", os.setxattr, "README", "user.x", b"1")
refused("EACCES", os.symlink, "x", "src/sym")
check(not os.access("README", os.W_OK), "access README")
check(os.access("README", os.R_OK), "access README")
check(os.access("own/file", os.W_OK), "access own/file")
check(not os.access("src", os.W_OK), "access src")
write("own/file", "+", os.O_WRONLY | os.O_APPEND)
same(read("own/file"), "own\n+", "its own file")
write("own/new", "x")
same((os.stat("own/new").st_uid, os.stat("own/new").st_gid), (1000, 1000), "the owner of a new file")
os.mkdir("own/dir")
same(os.stat("own/dir").st_uid, 1000, "the owner of a new directory")
os.chmod("own/file", 0o600)
refused("EPERM", os.chown, "own/file", 0, 0)
os.rename("own/new", "own/dir/moved")
os.unlink("own/file")
EOF
  branch_is "$ID" "A own/dir" "A own/dir/moved" "D own/file"
}

@test "a file keeps its inode from access(W_OK) to the write, as vim wants it; where it may not be written nothing is copied" {
  python_in_branch <<'EOF'
def inode(path):
    return os.stat(path).st_dev, os.stat(path).st_ino

for name in "README", "src/deep/er/file", "kinds/link":
    check(os.access(name, os.W_OK), f"access {name}")
    before = inode(name)
    fd = os.open(name, os.O_WRONLY)
    same((os.fstat(fd).st_dev, os.fstat(fd).st_ino), before, name)
before = inode("many/1")
os.setresuid(1000, 1000, 0)
check(not os.access("many/1", os.W_OK), "access")
os.setresuid(0, 0, 0)
same(inode("many/1"), before, "a file that may not be written")
EOF
  branch_is "$ID" ""
}
