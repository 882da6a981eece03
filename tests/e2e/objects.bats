# What a directory can hold beside files and directories, and descriptors that stand for files.
load helpers

# A process of the host that listens at kinds/socket of what the container gets as /work, and answers each line in capitals.
listen_in_lower() {
  local where
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || remember_lower
  where=$(work_source)/kinds/socket
  python3 -c '
import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
s = socket.socket(socket.AF_UNIX)
s.bind(os.path.basename(sys.argv[1]))
os.chmod(os.path.basename(sys.argv[1]), 0o666)
s.listen()
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper())
    c.close()' "$where" 3>&- &
  LISTENER=$!
  eventually test -S "$where"
}

@test "hard links made inside" {
  python_in_branch <<'EOF'
os.link("README", "linked")
os.link("linked", "src/deep/linked")
st = os.stat("README")
same(st.st_nlink, 3, "links")
same((os.stat("linked").st_ino, os.stat("src/deep/linked").st_ino), (st.st_ino,) * 2, "one inode")
write("linked", "changed", flags=os.O_WRONLY | os.O_TRUNC)
same((read("README"), read("src/deep/linked")), ("changed",) * 2, "one content")
os.chmod("src/deep/linked", 0o640)
same(os.stat("README").st_mode & 0o777, 0o640, "one mode")
os.rename("README", "linked")
check(os.path.exists("README"), "rename of one name over another does nothing")
os.unlink("README")
same(os.stat("linked").st_nlink, 2, "one link less")
os.link("kinds/link", "symlinked", follow_symlinks=False)
same(os.readlink("symlinked"), "../README", "a link of a symbolic link")
refused("EPERM", os.link, "src", "dirlink")
refused("EEXIST", os.link, "linked", "bin/echo")
refused("ENOENT", os.link, "nothing", "else")
os.link("kinds/fifo", "src/fifo")
same(os.stat("src/fifo").st_ino, os.stat("kinds/fifo").st_ino, "a FIFO of two names")
EOF
}

@test "FIFOs of the branch and of the lower" {
  python_in_branch <<'EOF'
import subprocess, threading
os.mkfifo("src/deep/er/new", 0o600)
for name in "src/deep/er/new", "kinds/fifo":
    writer = subprocess.Popen(["sh", "-c", f"echo through >{name}"])
    same(read(name), "through\n", name)
    writer.wait()
os.chmod("kinds/fifo", 0o640)
same(oct(os.stat("kinds/fifo").st_mode), oct(0o010640), "chmod of a lower FIFO")
writer = subprocess.Popen(["sh", "-c", "echo again >kinds/fifo"])
same(read("kinds/fifo"), "again\n", "and through it")
writer.wait()
os.mkfifo("other")
os.rename("other", "kinds/fifo")
os.unlink("kinds/fifo")
check(not os.path.exists("kinds/fifo"), "unlinked")
EOF
}

@test "a FIFO of the lower that is open: its descriptor changes it, and goes on" {
  python_in_branch <<'EOF'
from calls import *
fd = os.open("kinds/fifo", os.O_RDWR)
os.write(fd, b"kept")
os.fchmod(fd, 0o604)
os.fchown(fd, 5, 6)
os.utime(fd, ns=(1, 2))
refused("EPERM", os.setxattr, fd, "user.x", b"1")
st = os.stat("kinds/fifo")
same((oct(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns), (oct(0o010604), 5, 6, 2), "by its name")
same(os.read(fd, 10), b"kept", "what was in it")
EOF
}

@test "AF_UNIX sockets of the branch" {
  python_in_branch <<'EOF'
import socket, threading

def talk(address, kind=socket.SOCK_STREAM, bound=None, connected=None):
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(bound or address)
    client = socket.socket(socket.AF_UNIX, kind)
    if kind == socket.SOCK_STREAM:
        server.listen()
    client.connect(connected or address)
    client.send(b"hello")
    peer = server.accept()[0] if kind == socket.SOCK_STREAM else server
    same(peer.recv(10), b"hello", f"{kind} at {address}")
    return server, client

talk("/work/src/deep/stream")
talk("/work/src/deep/er/datagram", socket.SOCK_DGRAM)
talk("\0cowrun-objects-test")
check(not os.path.exists("cowrun-objects-test"), "an abstract name is none of the directory's")
os.chdir("many")
talk("relative")
talk("../bin/up", socket.SOCK_DGRAM)
os.chdir("/work")
check(os.path.exists("many/relative") and os.path.exists("bin/up"), "their names")
handle = os.open("empty", os.O_RDONLY)
talk("by handle", bound=f"/proc/self/fd/{handle}/sock", connected="empty/sock")
talk("through a link", bound="kinds/dirlink/linked", connected="src/linked")
for path in "README", "kinds/fifo", "many/relative", "kinds/dangling":
    refused("EADDRINUSE", socket.socket(socket.AF_UNIX).bind, path)
refused("ENOENT", socket.socket(socket.AF_UNIX).bind, "nowhere/sock")
refused("ENOTDIR", socket.socket(socket.AF_UNIX).bind, "README/sock")
refused("ECONNREFUSED", socket.socket(socket.AF_UNIX).connect, "README")
import stat
st = os.stat("src/deep/stream")
check(stat.S_ISSOCK(st.st_mode), "it is a socket")
os.chmod("src/deep/stream", 0o600)
os.rename("src/deep/stream", "src/moved")
client = socket.socket(socket.AF_UNIX)
os.unlink("many/relative")
refused("ENOENT", client.connect, "many/relative")
EOF
}

@test "a server that outlives a rename and a chmod of its name" {
  python_in_branch <<'EOF'
import socket
server = socket.socket(socket.AF_UNIX)
server.bind("src/sock")
server.listen()
os.chmod("src/sock", 0o600)
os.rename("src", "moved")
client = socket.socket(socket.AF_UNIX)
client.connect("moved/sock")
client.send(b"x")
same(server.accept()[0].recv(1), b"x", "through its new name")
EOF
}

@test "a socket of the lower that a host's process listens on" {
  listen_in_lower
  python_in_branch <<'EOF'
import socket

def ask(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    client.sendall(b"hello")
    return client.recv(10)

same(ask("kinds/socket"), b"HELLO", "untouched")
write("kinds/new", "x")
same(ask("/work/kinds/socket"), b"HELLO", "its directory split")
os.chdir("kinds")
same(ask("socket"), b"HELLO", "relative")
os.chdir("..")
os.rename("kinds/socket", "src/renamed")
same(ask("src/renamed"), b"HELLO", "renamed")
os.rename("src", "moved")
same(ask("moved/renamed"), b"HELLO", "its directory renamed")
os.unlink("moved/renamed")
refused("ENOENT", socket.socket(socket.AF_UNIX).connect, "moved/renamed")
EOF
  kill "$LISTENER"
}

@test "device nodes" {
  if [[ $ROOTLESS ]]; then # nobody can make one there
    without_devices
    python_in_branch <<<'refused("EPERM", os.mknod, "src/null", 0o020666, os.makedev(1, 3))'
    return
  fi
  python_in_branch <<'EOF'
import stat
null = os.makedev(1, 3)
os.mknod("src/deep/null", 0o666 | stat.S_IFCHR, null)
os.mknod("plain", 0o600)
st = os.stat("src/deep/null")
same((stat.S_ISCHR(st.st_mode), st.st_rdev), (True, null), "made")
# Whether it may be opened is for the mount and the cgroup to say: for both the same.
same(outcome(os.open, "src/deep/null", os.O_RDWR), outcome(os.open, "kinds/null", os.O_RDWR), "opened")
os.chmod("kinds/null", 0o600)
st = os.stat("kinds/null")
same((oct(st.st_mode), st.st_rdev), (oct(0o020600), null), "a lower one")
os.rename("kinds/null", "src/null")
os.unlink("src/null")
refused("EEXIST", os.mknod, "README", 0o666 | stat.S_IFCHR, null)
EOF
}

@test "O_TMPFILE, and linkat of it" {
  python_in_branch <<'EOF'
from calls import *
for where in ".", "src/deep", "empty", "/work/many":
    for way in "empty path", "magic link":
        fd = os.open(where, os.O_TMPFILE | os.O_RDWR, 0o640)
        os.write(fd, b"from nowhere")
        name = f"{where}/{way}"
        if way == "empty path":
            linkat(fd, "", AT_FDCWD, name, AT_EMPTY_PATH)
        else:
            linkat(AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, name, AT_SYMLINK_FOLLOW)
        same((read(name), os.stat(name).st_nlink, os.fstat(fd).st_ino), ("from nowhere", 1, os.stat(name).st_ino), name)
        os.close(fd)
fd = os.open("src", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
refused("ENOENT", linkat, AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "never", AT_SYMLINK_FOLLOW)
fd = os.open("bin", os.O_TMPFILE | os.O_WRONLY)
refused("EEXIST", linkat, AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "README", AT_SYMLINK_FOLLOW)
# A lower file by its descriptor.
fd = os.open("README", os.O_RDONLY)
linkat(AT_FDCWD, f"/proc/self/fd/{fd}", AT_FDCWD, "src/linked", AT_SYMLINK_FOLLOW)
write("src/linked", "both", flags=os.O_WRONLY | os.O_TRUNC)
same((read("README"), os.stat("README").st_nlink), ("both", 2), "linked by its descriptor")
fd = os.open("private", os.O_RDONLY)
linkat(fd, "", AT_FDCWD, "src/private", AT_EMPTY_PATH)
same(os.stat("private").st_ino, os.stat("src/private").st_ino, "linked by its descriptor and an empty path")
EOF
}

# What happens to a lower file while it is open, as (what another process does, where the file is then).
other_did='
import subprocess
STATES = (("nothing", None), ("copied up", "chmod 0600 {}"), ("written", "echo more >>{}"), ("renamed", "mv {} src/moved-{}"),
          ("its directory renamed", "mkdir -p d; mv {} d/; mv d e-{}"), ("unlinked", "rm {}"),
          ("copied up and unlinked", "chmod 0600 {}; rm {}"), ("replaced", "echo another >x; mv x {}"))

def after(number, state, command):
    """A lower file that was opened before that happened to it: descriptor, and its name now or None."""
    name = f"many/{number}"
    fd = os.open(name, os.O_RDONLY)
    base = str(number)
    if command:
        subprocess.run(["sh", "-ec", "cd many && " + command.replace("src/", "../src/").replace("{}", base)], check=True)
    now = {"renamed": f"src/moved-{base}", "its directory renamed": f"many/e-{base}/{base}"}.get(state, name)
    return fd, None if state in ("unlinked", "copied up and unlinked", "replaced") else now
'

@test "descriptors of lower files: fchmod, fchown, futimens, fsetxattr, ioctl, whatever another process did" {
  python_in_branch <<EOF
from calls import *
$other_did
for number, (state, command) in enumerate(STATES, 1):
    fd, name = after(number, state, command)
    os.fchmod(fd, 0o640)
    os.fchown(fd, 7, 8)
    os.setxattr(fd, "user.one", b"1")
    os.setxattr(fd, "user.two", b"2")
    os.removexattr(fd, "user.one")
    set_flags(fd, get_flags(fd) | FS_NODUMP_FL)
    os.utime(fd, ns=(3, 4))
    for what in (fd, name):
        if what is None:
            continue
        st = os.stat(what)
        same((oct(st.st_mode & 0o7777), st.st_uid, st.st_gid, st.st_mtime_ns), (oct(0o640), 7, 8, 4), f"{state}, {what}")
        same(os.listxattr(what), ["user.two"], f"{state}, {what}: xattrs")
    check(get_flags(fd) & FS_NODUMP_FL, f"{state}: flags")
    if name:
        other = os.open(name, os.O_RDONLY)
        check(get_flags(other) & FS_NODUMP_FL, f"{state}: flags by name")
        same(os.fstat(fd).st_ino, os.stat(name).st_ino, f"{state}: one file")
    content = b"file %d\n" % number + (b"more\n" if state == "written" else b"")
    if state != "written": # (there the descriptor was opened first: a known limit)
        same(os.pread(fd, 100, 0), content, f"{state}: content")
    if state == "replaced":
        same(read(f"many/{number}"), "another\n", "the one that took its name")
        same(oct(os.stat(f"many/{number}").st_mode & 0o777), oct(0o644), "its mode")
EOF
}

@test "/proc/self/fd/N and /dev/fd/N reopened for writing, whatever another process did" {
  python_in_branch <<EOF
from calls import *
$other_did
for number, (state, command) in enumerate(STATES, 1):
    fd, name = after(number, state, command)
    place = ("/proc/self/fd", "/dev/fd")[number % 2]
    again = os.open(f"{place}/{fd}", os.O_RDWR)
    os.pwrite(again, b"FILE", 0)
    same(os.pread(again, 4, 0), b"FILE", f"{state}: read back")
    if name:
        same(read(name)[:4], "FILE", f"{state}: by name")
        os.close(os.open(f"{place}/{fd}", os.O_WRONLY | os.O_TRUNC))
        same(os.stat(name).st_size, 0, f"{state}: O_TRUNC")
        append = os.open(f"{place}/{fd}", os.O_WRONLY | os.O_APPEND)
        os.write(append, b"end")
        same(read(name), "end", f"{state}: O_APPEND")
    elif state == "replaced":
        same(read(f"many/{number}"), "another\n", "the one that took its name")
    else:
        same(os.fstat(again).st_nlink, 0, f"{state}: it has no name")
EOF
}

@test "directories by descriptor: fchmod, fchown, futimens, fsetxattr, ioctl" {
  python_in_branch <<'EOF'
from calls import *
import subprocess
for name, command in (("src", None), ("many", "touch many/new"), ("bin", "mv bin moved")):
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
    before = sorted(os.listdir(name))
    if command:
        subprocess.run(["sh", "-ec", command], check=True)
        before = sorted(before + ["new"]) if name == "many" else before
    now = "moved" if name == "bin" else name
    os.fchmod(fd, 0o750)
    os.fchown(fd, 7, 8)
    os.setxattr(fd, "user.dir", b"1")
    set_flags(fd, get_flags(fd) | FS_NODUMP_FL)
    os.utime(fd, ns=(3, 4))
    for what in fd, now:
        st = os.stat(what)
        same((oct(st.st_mode & 0o7777), st.st_uid, st.st_gid, st.st_mtime_ns), (oct(0o750), 7, 8, 4), f"{name}, {what}")
        same(os.listxattr(what), ["user.dir"], f"{name}, {what}: xattrs")
        same(sorted(os.listdir(what)), before, f"{name}, {what}: entries")
    same(get_flags(os.open(now, os.O_RDONLY)) & FS_NODUMP_FL, FS_NODUMP_FL, f"{name}: flags")
EOF
}

# Changes through magic links: by a descriptor of the process itself, readable and O_PATH, and by another process's.
magic_changes='
from calls import *
import subprocess
holder = subprocess.Popen(["/usr/bin/python3", "-c", """
import os, sys
for line in sys.stdin:
    print(os.open(line.strip(), os.O_PATH), flush=True)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def hold(path):
    """Open in another process, by O_PATH."""
    holder.stdin.write(path + "\n")
    holder.stdin.flush()
    return int(holder.stdout.readline())

def links(path):
    yield f"/proc/self/fd/{os.open(path, os.O_RDONLY)}"
    yield f"/proc/self/fd/{os.open(path, os.O_PATH)}"
    yield f"/dev/fd/{os.open(path, os.O_PATH)}"
    yield f"/proc/{holder.pid}/fd/{hold(path)}"

def changes(new=True):
    yield "chmod", lambda p: os.chmod(p, 0o604), lambda st: oct(st.st_mode & 0o777) == "0o604"
    if kernel_has(452):
        yield "fchmodat2", lambda p: fchmodat2(AT_FDCWD, p, 0o640, 0), lambda st: oct(st.st_mode & 0o777) == "0o640"
    yield "utime", lambda p: utime(p, 1000), lambda st: st.st_mtime_ns == 1000 * 10**9 or not _x86
    yield "utimes", lambda p: utimes(p, 2000), lambda st: st.st_mtime_ns == 2000 * 10**9 + 5000 or not _x86
    yield "futimesat", lambda p: futimesat(AT_FDCWD, p, 3000), lambda st: st.st_mtime_ns == 3000 * 10**9 + 5000 or not _x86
    yield "utimensat", lambda p: utimensat(AT_FDCWD, p, 4000, 0), lambda st: st.st_mtime_ns == 4000 * 10**9 + 2
    yield "utimensat now", lambda p: utimensat(AT_FDCWD, p, None, 0), lambda st: st.st_mtime > 5000
    yield "setxattr", lambda p: os.setxattr(p, "user.x", b"one"), lambda st: b"one"
    yield "removexattr", lambda p: os.removexattr(p, "user.x"), lambda st: None
    if new and kernel_has(463):
        yield "setxattrat", lambda p: setxattrat(AT_FDCWD, p, 0, "user.x", b"two"), lambda st: b"two"
        yield "removexattrat", lambda p: removexattrat(AT_FDCWD, p, 0, "user.x"), lambda st: None
    if new and kernel_has(469):
        yield "file_setattr", lambda p: file_setattr(AT_FDCWD, p, FS_XFLAG_NOATIME, 0), lambda st: True
    yield "truncate", lambda p: os.truncate(p, 2), lambda st: st.st_size == 2

def xattr_of(path):
    try:
        return os.getxattr(path, "user.x")
    except OSError:
        return None
_x86 = os.uname().machine == "x86_64"
'

# Files that the changes have something to do on, one for each. The delegate's listener does not trap what libseccomp cannot
# name (README): there the newest calls are left out.
lower_for_magic() {
  local i
  mkdir "$LOWER/m"
  for i in {0..119}; do
    echo "lower $i" >"$LOWER/m/$i"
    setfattr -n user.x -v lower "$LOWER/m/$i"
  done
  [[ $COWRUN_TEST_ENGINE == bundle-crun && ! ${COWRUN_TEST_PLAIN-} ]] && NEW=False || NEW=True
}

@test "changes through magic links: every call that takes a path" {
  lower_for_magic
  python_in_branch <<EOF
$magic_changes
number = 0
for name, change, right in changes($NEW):
    for stale in False, True:
        for kind, link in enumerate(links(f"m/{number}")):
            path = f"m/{number + kind}"
            link = list(links(path))[kind]
            if stale:
                subprocess.run(["sh", "-ec", f"chmod 0600 {path}"], check=True)
            change(link)
            want = right(os.stat(path))
            if isinstance(want, bytes) or want is None:
                same(xattr_of(path), want, f"{name} {link} {path} {stale}")
            else:
                check(want, f"{name} {link} {path} {stale}: {os.stat(path)}")
            if name != "truncate":
                same(read(path), f"lower {number + kind}\n", f"{name} {link}: content")
        number += 4
EOF
}

@test "changes through magic links: the kernel's errors" {
  lower_for_magic
  python_in_branch <<EOF
$magic_changes
for number, kind in enumerate(range(4)):
    path = f"m/{number}"
    link = list(links(path))[kind]
    refused("ERANGE", setxattr, link, "user." + "n" * 251, b"1", 1, 0)
    refused("ERANGE", setxattr, link, "", b"1", 1, 0)
    refused("ENOTSUP", setxattr, link, "nonsense", b"1", 1, 0)
    refused("E2BIG", setxattr, link, "user.x", b"1" * 65537, 65537, 0)
    refused("E2BIG", setxattr, link, "user.x", b"1", 1 << 40, 0)
    refused("EINVAL", setxattr, link, "user.x", b"1", 1, 4)
    refused("EFAULT", setxattr, link, "user.x", 16, 10, 0)
    refused("EFAULT", setxattr, link, 16, b"1", 1, 0)
    refused("EEXIST", setxattr, link, "user.x", b"1", 1, 1)
    refused("ENODATA", setxattr, link, "user.none", b"1", 1, 2)
    refused("ENODATA", os.removexattr, link, "user.none")
    refused("EINVAL", utimes, link, 1, 1000000)
    refused("EINVAL", os.truncate, link, -1)
    same((read(path), xattr_of(path)), (f"lower {number}\n", b"lower"), "as it was")
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
for number, kind in enumerate(range(4), 10):
    refused("EFBIG", os.truncate, list(links(f"m/{number}"))[kind], 101)
EOF
}

@test "changes through magic links, as an ordinary user" {
  lower_for_magic
  mkdir "$LOWER/mine"
  for i in {0..7}; do
    echo "mine" >"$LOWER/mine/$i"
    chown 1000:1000 "$LOWER/mine/$i"
  done
  chown 1000:1000 "$LOWER/mine"
  chmod 0666 "$LOWER"/m/{10..13}
  USER_IDS=1000:1000
  python_in_branch <<EOF
$magic_changes
for number, kind in enumerate(range(4)):
    link = list(links(f"m/{number}"))[kind]
    refused("EPERM", os.chmod, link, 0o777)
    refused("EPERM", os.chown, link, 1000, 1000)
    refused("EPERM", os.utime, link, (1, 2))
    refused("EACCES", os.utime, link)
    refused("EACCES", os.setxattr, link, "user.y", b"1")
    refused("EPERM", os.setxattr, link, "trusted.y", b"1")
    refused("EACCES", os.removexattr, link, "user.x")
    refused("EACCES", os.truncate, link, 0)
    same(read(f"m/{number}"), f"lower {number}\n", "as it was")
for number, kind in enumerate(range(4), 10):
    link = list(links(f"m/{number}"))[kind]
    refused("EPERM", os.utime, link, (1, 2))
    os.utime(link)
    os.setxattr(link, "user.y", b"1")
    os.truncate(link, 1)
    same((read(f"m/{number}"), os.listxattr(f"m/{number}")), ("l", ["user.x", "user.y"]), "what everybody may")
for number, kind in enumerate(range(4)):
    path = f"mine/{number}"
    link = list(links(path))[kind]
    os.chmod(link, 0o600)
    os.utime(link, ns=(1, 2))
    refused("EPERM", os.chown, link, 0, 0)
    os.chown(link, -1, 1000)
    os.truncate(link, 2)
    st = os.stat(path)
    same((oct(st.st_mode & 0o777), st.st_size, read(path)), ("0o600", 2, "mi"), "his own")
EOF
}

@test "descriptors opened by O_PATH: the calls that take an empty path" {
  lower_for_magic
  without_devices
  python_in_branch <<EOF
from calls import *
for number in range(3):
    path = f"m/{number}"
    fd = os.open(path, os.O_PATH)
    refused("EBADF", os.fchmod, fd, 0o600)
    refused("EBADF", os.fchown, fd, 1, 1)
    if number == 1:
        os.chmod(path, 0o644)
    if kernel_has(452):
        fchmodat2(fd, "", 0o604, AT_EMPTY_PATH)
    fchownat(fd, "", 5, 6, AT_EMPTY_PATH)
    utimensat(fd, "", 1000, AT_EMPTY_PATH)
    opened = os.open(path, os.O_RDONLY)
    if $NEW and kernel_has(463):
        refused("EBADF", setxattrat, fd, "", AT_EMPTY_PATH, "user.x", b"at")
        refused("EBADF", removexattrat, fd, "", AT_EMPTY_PATH, "user.x")
        setxattrat(opened, "", AT_EMPTY_PATH, "user.x", b"at")
        same(os.getxattr(path, "user.x"), b"at", "setxattrat")
        removexattrat(opened, "", AT_EMPTY_PATH, "user.x")
        refused("ENODATA", os.getxattr, path, "user.x")
    if $NEW and kernel_has(469):
        refused("EBADF", file_setattr, fd, "", FS_XFLAG_NOATIME, AT_EMPTY_PATH)
        file_setattr(opened, "", FS_XFLAG_NOATIME, AT_EMPTY_PATH)
        check(get_flags(os.open(path, os.O_RDONLY)) & FS_NOATIME_FL, "file_setattr")
    st = os.stat(path)
    same((st.st_uid, st.st_gid, st.st_mtime_ns), (5, 6, 1000 * 10**9 + 2), path)
    refused("EBADF", os.read, fd, 1) # still what it was
for name in filter(lambda n: os.path.lexists(f"kinds/{n}"), ("link", "fifo", "null")):
    fd = os.open(f"kinds/{name}", os.O_PATH | os.O_NOFOLLOW)
    fchownat(fd, "", 5, 6, AT_EMPTY_PATH)
    st = os.lstat(f"kinds/{name}")
    same((st.st_uid, st.st_gid), (5, 6), name)
same(os.readlink("kinds/link"), "../README", "a symbolic link by its descriptor")
EOF
}

@test "watches and rules on lower directories see what changes there: fanotify, dnotify" {
  python_in_branch <<'EOF'
from calls import *
import fcntl, select, signal, subprocess
seen = []
signal.signal(signal.SIGIO, lambda *_: seen.append(1))
fd = os.open("src", os.O_RDONLY)
fcntl.fcntl(fd, F_NOTIFY, 4 | 8) # DN_CREATE, DN_DELETE
subprocess.run(["sh", "-ec", "echo x >src/made"], check=True)
same(seen, [1], "dnotify")
x86 = os.uname().machine == "x86_64"
# podman's profile has no fanotify_init for a container without CAP_SYS_ADMIN.
allowed = outcome(syscall, 300 if x86 else 262, 0xC00 | 0x2, 0) != "EPERM"
for where in ("path", "handle", "the handle itself") if allowed else ():
    name = {"path": "many", "handle": "src/deep", "the handle itself": "bin"}[where]
    # FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME, then FAN_MARK_ADD of FAN_CREATE: what every user may
    group = syscall(300 if x86 else 262, 0xC00 | 0x2, 0)
    if where == "handle":
        syscall(301 if x86 else 263, group, 1, 0x100, os.open("src", os.O_RDONLY), "deep")
    elif where == "path":
        syscall(301 if x86 else 263, group, 1, 0x100, AT_FDCWD, name)
    else:
        syscall(301 if x86 else 263, group, 1, 0x100, os.open(name, os.O_RDONLY), None)
    subprocess.run(["sh", "-ec", f"echo x >{name}/made"], check=True)
    check(select.select([group], [], [], 5)[0] and b"made" in os.read(group, 4096), f"fanotify by {where}")
EOF
}

# Landlock of the programs' own: what the agent does in their stead must not go round it.
sandboxed='
from calls import *
import struct
# Everything that Linux 5.19 knows (REFER with it), allowed below src and many only.
ruleset = syscall(444, struct.pack("Q", (1 << 14) - 1), 8, 0)
for name, access in (("src", (1 << 14) - 1), ("/usr", 5 | 8), ("/lib", 5 | 8), ("/proc", 5 | 8)):
    handle = os.open(name, os.O_PATH)
    syscall(445, ruleset, 1, struct.pack("=Qi", access, handle), 0)
held = os.open("README", os.O_RDONLY)
'

@test "a program that sandboxes itself with Landlock: its rules hold, and what they allow works" {
  mkdir "$LOWER/src/inner"
  echo x >"$LOWER/src/inner/file"
  mkdir "$LOWER/hollow"
  python_in_branch <<EOF
$sandboxed
syscall(157 if os.uname().machine == "x86_64" else 167, 38, 1, 0, 0, 0) # PR_SET_NO_NEW_PRIVS
syscall(446, ruleset, 0)
write("src/new", "x")
write("src/deep/new", "x")
write("src/util.c", "changed")
os.unlink("src/util.h")
os.unlink("src/inner/file")
os.rmdir("src/inner")
os.rename("src/main.c", "src/deep/moved.c")
os.rename("src/deep", "src/shallow")
os.link("src/shallow/moved.c", "src/again.c")
same(read("src/shallow/moved.c")[:8], "#include", "moved")
refused("EACCES", os.open, "new", os.O_WRONLY | os.O_CREAT)
refused("EACCES", os.open, "README", os.O_WRONLY)
refused("EACCES", os.open, f"/proc/self/fd/{held}", os.O_WRONLY)
refused("EACCES", os.unlink, "README")
refused("EACCES", os.rmdir, "hollow")
refused("EACCES", os.mkdir, "many/new")
refused("EACCES", os.rename, "many/1", "many/one")
refused("EACCES", os.rename, "many", "lots")
refused("EACCES", os.unlink, "many/2")
refused("EACCES", os.link, "src/again.c", "again.c")
EOF
}

# bats test_tags=cowrun
@test "a branch with immutable and append-only files is discarded all the same" {
  [[ ! $ROOTLESS ]] || return 0 # such flags want a capability that nobody has there
  ALL_CAPABILITIES=1
  in_branch <<'EOF'
mkdir -p fixed/deep/er
echo x >fixed/deep/file
echo x >new
chattr +i new fixed/deep/file fixed/deep fixed README
chattr +a many/1
says "not permitted" rm -f README
says "not permitted" sh -c 'echo x >many/1'
EOF
  branch discard "$ID"
  not grep -rl . "$COWRUN_STORE"/branches/.gone.* "$COWRUN_STORE/branches/$ID"
}

@test "another process's descriptors open nothing to who may not look at them" {
  mkdir "$LOWER/closed" && echo inner >"$LOWER/closed/file" && chmod 0666 "$LOWER/closed/file" && chmod 0700 "$LOWER/closed"
  python_in_branch <<'EOF'
import subprocess
holder = subprocess.Popen(["/usr/bin/sleep", "60"], stdin=open("closed/file"))
way = f"/proc/{holder.pid}/fd/0"
child = os.fork()
if child == 0:
    os.setgroups([])
    os.setgid(1000)
    os.setuid(1000)
    refused("EACCES", os.open, way, os.O_RDONLY)
    refused("EACCES", os.open, way, os.O_WRONLY)
    refused("EACCES", os.open, way, os.O_RDWR | os.O_TRUNC)
    refused("EACCES", os.truncate, way, 0)
    refused("EACCES", os.chmod, way, 0o777)
    import scenario
    os._exit(scenario.failed)
same(os.waitpid(child, 0)[1], 0, "the other user")
same(read("closed/file"), "inner\n", "content")
write(way, "outer\n", os.O_WRONLY)
same(read("closed/file"), "outer\n", "who may look may write")
holder.kill()
EOF
}
