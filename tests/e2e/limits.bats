# bats file_tags=cowrun
# The limits that contrib/doc/limits.md states, each as it is: a test that fails here says that a line there is to go.
load helpers

# agent_count NAME: what the only agent of this test has counted, e.g. notifications (op status of architecture.md).
agent_count() {
  /usr/bin/python3 - "$COWRUN_STATE"/*/control.sock "$1" <<'END'
import json, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
    control.connect(sys.argv[1])
    control.send(b'{"op":"status"}')
    status = json.loads(control.recv(1 << 16))
print({**status["trees"][0], **status}[sys.argv[2]])
END
}

mounts_of() { wc -l <"/proc/$(pid_of "$1")/mountinfo"; }

@test "a program that opened an untouched file before another changed it keeps the lower's content, as on overlayfs" {
  python_in_branch <<'EOF'
import subprocess
fd = os.open("README", os.O_RDONLY)
write("README", "new")
same((os.pread(fd, 100, 0), read("README")), (b"a lower file\n", "new"), "before and after")
# So tail -f, but not tail -F, misses what others append to an untouched file.
tails = [subprocess.Popen(["tail", "-n1", how, "many/1"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for how in ("-f", "-F")]
same([tail.stdout.readline() for tail in tails], [b"file 1\n"] * 2, "tail")
write("many/1", "appended\n", os.O_WRONLY | os.O_APPEND)
while b"appended" not in tails[1].stdout.readline():
    pass
os.set_blocking(tails[0].stdout.fileno(), False)
same(tails[0].stdout.read(), None, "tail -f")
for tail in tails:
    tail.kill()
    tail.wait()
EOF
}

@test "the inode number of an untouched file is the lower's: its first change, or a new name for it, shows in that" {
  python_in_branch <<'EOF'
changes = (lambda path: write(path, "x"), lambda path: os.chmod(path, 0o600), lambda path: os.link(path, path + ".link"),
           lambda path: os.truncate(path, 1), lambda path: os.setxattr(path, "user.x", b"1"))
for number, change in enumerate(changes):
    path = f"many/{number + 1}"
    before = os.stat(path)
    change(path)
    check(os.stat(path).st_ino != before.st_ino, f"{path} has its inode still")
    before = os.stat(path)
    write(path, "more")
    same(os.stat(path).st_ino, before.st_ino, f"{path} later")
before = os.stat("many/10").st_ino
os.rename("many/10", "many/moved")
same(os.stat("many/moved").st_ino, before, "a rename is no change")
EOF
}

@test "files of a tree that is linked keep their count of links until they are changed; git clone does so" {
  (
    cd "$LOWER" && git init -q . && git add . && git -c user.name=A -c user.email=a@example.org commit -q -m one
  ) >/dev/null
  in_branch <<'EOF'
git clone -q . clone
object=$(cd .git/objects; find ?? -type f | head -n 1)
[[ .git/objects/$object -ef clone/.git/objects/$object ]] || fail "two files"
is "$(stat -c %h ".git/objects/$object")" 1 "links"
cp -al src other
is "$(stat -c %h src/main.c)" 1 "links of an untouched file"
touch src/main.c
is "$(stat -c %h:%Y other/main.c)" "2:$(stat -c %Y src/main.c)" "links of a changed one"
ln src/util.c src/again.c
is "$(stat -c %h src/util.c):$(stat -c %h other/util.c)" 3:3 "a name of its own: then it is copied"
EOF
  branch commit "$ID"
  [[ $(stat -c %h "$LOWER/src/deep/er/file") == 2 && $LOWER/src/deep/er/file -ef $LOWER/other/deep/er/file ]]
  rm "$T/before"
}

@test "a lower file with names elsewhere keeps the old content there, and its link count is the lower's" {
  ln "$LOWER/README" "$T/elsewhere"
  in_branch <<'EOF'
is "$(stat -c %h kinds/hard2)" 2 "links"
rm kinds/hard1
is "$(stat -c %h kinds/hard2)" 2 "links after one is deleted"
echo changed >README
is "$(stat -c %h README)" 1 "links after a change"
EOF
  branch commit "$ID"
  [[ $(<"$LOWER/README") == changed && $(<"$T/elsewhere") == "a lower file" ]]
  rm "$T/before"
}

@test "a split directory has the entries that it had at the split" {
  start "$ID" /bin/sleep 60
  exec_in "$ID" /bin/sh -c 'echo x >/work/many/new'
  echo later >"$LOWER/many/host" && echo later >"$LOWER/host" && echo later >"$LOWER/src/host"
  bash_in "$ID" <<'EOF'
cd /work
[[ ! -e many/host ]] || fail "the host's later file in a split directory"
[[ ! -e host ]] || fail "the host's later file in the root"
is "$(cat src/host)" later "the host's later file in a directory that is not split"
EOF
  remove "$ID"
  # A commit leaves it alone.
  branch commit "$ID"
  [[ $(<"$LOWER/many/host") == later && $(<"$LOWER/many/new") == x ]]
  rm "$T/before"
}

@test "a split costs a mount an entry" {
  local before after
  mkdir "$LOWER/big" && (cd "$LOWER/big" && touch {1..500})
  start "$ID" /bin/sleep 60
  before=$(mounts_of "$ID")
  exec_in "$ID" /bin/sh -c 'ls /work/big >/dev/null; cat /work/big/*'
  after=$(mounts_of "$ID")
  ((after == before)) || { echo "reading: $before mounts, then $after" && return 1; }
  exec_in "$ID" /bin/sh -c 'echo x >/work/big/new'
  after=$(mounts_of "$ID")
  ((after >= before + 499)) || { echo "$before mounts, then $after" && return 1; }
  remove "$ID"
}

@test "walking through directory handles meets the agent, reading by path does not" {
  local before after
  start "$ID" /bin/sleep 60
  exec_in "$ID" /bin/true
  before=$(agent_count notifications)
  exec_in "$ID" /bin/sh -c 'cat /work/many/* /work/src/*.c && test -r /work/src/deep/er/file' >/dev/null
  after=$(agent_count notifications)
  ((after - before < 10)) || { echo "reading 22 files by path: $((after - before)) calls" && return 1; }
  before=$(agent_count notifications)
  exec_in "$ID" /bin/sh -c 'find /work -size +0 >/dev/null'
  after=$(agent_count notifications)
  ((after - before > 30)) || { echo "find over 40 entries: $((after - before)) calls" && return 1; }
  remove "$ID"
}

@test "no_new_privs is on, and the container cannot mount" {
  ALL_CAPABILITIES=1
  in_branch <<'EOF'
grep -qx 'NoNewPrivs:	1' /proc/self/status || fail "no_new_privs is off"
says "" mount -t tmpfs none /mnt
EOF
}

@test "processes of different execs cannot look into each other through /proc, but can signal" {
  start "$ID" /bin/bash -c 'trap "exit 7" TERM; while :; do sleep 0.1; done'
  bash_in "$ID" <<'EOF'
is "$(readlink /proc/self/cwd)" "$PWD" "its own"
for name in cwd exe root fd/0; do says "" readlink "/proc/1/$name"; done
says "" cat /proc/1/maps
is "$(tr '\0' ' ' </proc/1/cmdline | cut -c 1-9)" /bin/bash "the command line"
kill -0 1 || fail "cannot signal"
EOF
  remove "$ID"
}

# Every thread of it.
stands_still() { ! grep -q '^State:.*[^T] (' /proc/"$1"/task/*/status; }

has_said() { output_of "$ID" | grep -q "$1"; }

# In mkdir (83) itself.
is_in_mkdir() { grep -q '^83 ' "/proc/$1/syscall"; }

# bats test_tags=rootful
@test "a call that waits for the agent ends with EINTR at a signal whose handler lacks SA_RESTART, and has done nothing" {
  local pid agent shm
  python_script "$ID" <<'EOF'
import ctypes, signal, time
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.siginterrupt(signal.SIGUSR1, True)
libc = ctypes.CDLL(None, use_errno=True)
open("/dev/shm/ready", "w").close()
while not os.path.exists("/dev/shm/go"):
    time.sleep(0.01)
result = libc.mkdir(b"/work/made", 0o755), ctypes.get_errno()
print("mkdir-ended", flush=True)
same(result, (-1, errno.EINTR), "mkdir")
check(not os.path.exists("made"), "it was done after all")
os.mkdir("made")
check(not failed, "one of these")
open("/dev/shm/failed" if failed else "/dev/shm/done", "w").close()
time.sleep(60)
EOF
  start "$ID" /usr/bin/env PYTHONPATH=/t PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "/t/scripts/$ID"
  eventually exec_in "$ID" test -e /dev/shm/ready
  pid=$(pid_of "$ID")
  shm=/proc/$pid/root/dev/shm
  # The agent stands still: the call waits for it.
  agent=$(agents)
  kill -STOP "$agent"
  eventually stands_still "$agent"
  touch "$shm/go"
  # It goes on when the call has ended: the kernel may still let the agent have a call that a signal has only woken.
  eventually is_in_mkdir "$pid" && kill -USR1 "$pid" && eventually has_said mkdir-ended || true
  kill -CONT "$agent"
  eventually test -e "$shm/done" || { output_of "$ID" && return 1; }
  remove "$ID"
}

@test "a grafted entry is a mount point to mountpoint, and read-only to statvfs" {
  in_branch <<'EOF'
mountpoint -q src || fail "src is none"
read_only() { /usr/bin/python3 -c 'import os, sys; sys.exit(not os.statvfs(sys.argv[1]).f_flag & os.ST_RDONLY)' "$1"; }
read_only README || fail "README may be written"
! read_only . || fail "the workdir may not be written"
echo x >>README && echo x >src/new
! read_only README && ! mountpoint -q src || fail "still, after a change"
EOF
}

@test "flock does not exclude across a copy-up" {
  python_in_branch <<'EOF'
import fcntl
before = os.open("README", os.O_RDONLY)
fcntl.flock(before, fcntl.LOCK_EX)
refused("EAGAIN", fcntl.flock, os.open("README", os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
after = os.open("README", os.O_RDWR)
fcntl.flock(after, fcntl.LOCK_EX | fcntl.LOCK_NB)
EOF
}

@test "/proc/self/fd shows an old path of what was open when its directory changed, or when it was renamed over an untouched file" {
  python_in_branch <<'EOF'
path = lambda fd: os.readlink(f"/proc/self/fd/{fd}")
fd = os.open("src/main.c", os.O_RDONLY)
os.rename("src/util.c", "src/other.c")
os.rename("src", "source")
same(path(fd), "/work/src/main.c", "of a file in a directory that was renamed")
os.close(fd)
write("new", "new")
fd = os.open("new", os.O_RDONLY)
os.rename("new", "README")
same((path(fd), os.fstat(fd).st_ino), ("/work/new (deleted)", os.stat("README").st_ino), "of what is README now")
EOF
}

@test "a handle on a directory that two processes share has two positions after its first change" {
  python_in_branch <<'EOF'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def entries(fd):
    return libc.syscall(217, fd, ctypes.create_string_buffer(1 << 16), 1 << 16) # getdents64
fd = os.open("many", os.O_RDONLY)
child = os.fork()
if child == 0:
    write("new", "x", dir_fd=fd)
    check(entries(fd) > 0, "the child reads it")
    os._exit(0)
same(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "the child")
check(entries(fd) > 0, "it is read to its end here too, on a plain directory")
EOF
}

@test "inotify: the first change of a lower entry shows as a replacement of it; a watch on a lower file copies it up" {
  python_in_branch <<'EOF'
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
def events(fd):
    data, found = os.read(fd, 1 << 16), []
    while data:
        _, mask, _, size = struct.unpack_from("iIII", data)
        found.append((mask & 0xfff, data[16:16 + size].rstrip(b"\0").decode()))
        data = data[16 + size:]
    return found
ACCESS, MODIFY, MOVED_FROM, MOVED_TO, CREATE = 0x1, 0x2, 0x40, 0x80, 0x100
fd = libc.inotify_init1(os.O_CLOEXEC)
check(libc.inotify_add_watch(fd, b"many", MODIFY | MOVED_FROM | MOVED_TO) > 0, "watch")
write("many/1", "x", os.O_WRONLY)
seen = events(fd)
check((MOVED_TO, "1") in seen and (MODIFY, "1") in seen, f"first change: {seen}")
write("many/1", "y", os.O_WRONLY)
same(events(fd), [(MODIFY, "1")], "second change")
before = os.stat("README").st_ino
check(libc.inotify_add_watch(fd, b"README", MODIFY) > 0, "watch")
check(os.stat("README").st_ino != before, "README was not copied")
os.mkdir("new")
check(libc.inotify_add_watch(fd, b"new", CREATE | MOVED_TO) > 0, "watch")
os.link("many/2", "new/2")
os.link("many/3", "new/three")
same(events(fd), [(MOVED_TO, "2"), (MOVED_FROM, "3"), (MOVED_TO, "3"), (CREATE, "three")], "links, as of a tree and of another kind")
EOF
  branch_is "$ID" "M many/1" "A new" "A new/2" "A new/three"
}

@test "an access time that was set is no change by itself" {
  in_branch <<'EOF'
touch -a -d @1000000000 README
is "$(stat -c %X README)" 1000000000 "in the branch"
EOF
  branch_is "$ID" ""
  branch commit "$ID"
  (($(stat -c %X "$LOWER/README") > 1000000000))
}

@test "reading an unchanged file moves no access time" {
  python_in_branch <<'EOF'
before = os.stat("README").st_atime_ns
read("README")
same(os.stat("README").st_atime_ns, before, "README")
os.utime("many/1", ns=(1, 10**18))
read("many/1")
check(os.stat("many/1").st_atime_ns != 1, "a file of the branch, read under relatime")
EOF
}

@test "FIFOs, sockets and devices of the lower are the real ones; a commit leaves new sockets out" {
  local reader
  /usr/bin/python3 -c "
import os, socket
os.chdir('$LOWER')
server = socket.socket(socket.AF_UNIX)
server.bind('kinds/socket')
server.listen()
open('$T/ready', 'w').close()
open('$T/heard', 'wb').write(server.accept()[0].recv(100))
open('$T/piped', 'wb').write(open('kinds/fifo', 'rb').read())" 3>&- &
  reader=$!
  eventually test -e "$T/ready"
  python_in_branch <<'EOF'
import socket
client = socket.socket(socket.AF_UNIX)
client.connect("kinds/socket")
client.send(b"from the container")
client.close()
write("kinds/fifo", "through the pipe", os.O_WRONLY)
write("kinds/null", "away", os.O_WRONLY)
socket.socket(socket.AF_UNIX).bind("kinds/new")
EOF
  wait "$reader"
  [[ $(<"$T/heard") == "from the container" && $(<"$T/piped") == "through the pipe" ]]
  branch commit "$ID" >"$T/said" 2>&1
  grep -q "kinds/new is a socket" "$T/said"
  [[ ! -e $LOWER/kinds/new ]]
  rm "$T/before"
}

@test "times of directories are no change of their own: diff does not show them, a commit of other changes takes them" {
  in_branch <<'EOF'
touch -d 2021-01-01 src
EOF
  branch_is "$ID" ""
  in_branch <<'EOF'
echo x >many/1
EOF
  branch_is "$ID" "M many/1"
  branch commit "$ID"
  [[ $(TZ=UTC stat -c %y "$LOWER/src") == "2021-01-01 "* ]]
  rm "$T/before"
}

@test "not yet: branch export, prune, recover, diff and commit of paths, run.cowrun.quota, on-exit=commit-on-success" {
  local command status
  in_branch <<'EOF'
echo x >>README
EOF
  for command in "export $ID" prune recover "diff $ID README" "commit $ID README"; do
    status=0
    # shellcheck disable=SC2086
    branch $command >/dev/null 2>&1 || status=$?
    [[ $status == 2 ]] || { echo "branch $command: status $status" && return 1; }
  done
  branch_is "$ID" "M README"
  for command in run.cowrun.quota=1G run.cowrun.on-exit=commit-on-success; do
    container_defaults "$ID"
    ANNOTATIONS+=("$command")
    expect_failure "${command%%=*}" run_container "$ID" /bin/true
    remove "$ID" >/dev/null 2>&1 || true
  done
}
