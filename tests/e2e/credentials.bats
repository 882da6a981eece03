# What a process may do in a branch is what it might do in a plain directory, whoever it is: mode bits, access lists, sticky
# and setgid directories, groups, capabilities, user namespaces. What the agent does in its stead is judged as the
# kernel would.
load helpers

# Entries for every question, each made for one call: what was copied up is the kernel's alone.
credentials_tree() {
  local i
  (
    cd "$LOWER" || exit 1
    for i in {1..12}; do
      mkdir -p "group/$i" "sticky/$i" "mine/$i" "closed/$i" "list/$i" "nobodys/$i" "hidden/$i/way"
      for dir in group sticky mine closed list nobodys hidden; do echo "$dir" >"$dir/$i/file"; done
      echo way >"hidden/$i/way/file" && chmod 0666 "hidden/$i/way/file"
      mkdir "sticky/$i/dir"
      echo free >"sticky/$i/free" && chmod 0666 "sticky/$i/free"
      echo theirs >"sticky/$i/theirs"
      chown 0:2000 "group/$i" "group/$i/file"
      chmod 0770 "group/$i" && chmod 0664 "group/$i/file"
      chown 1000:1000 "mine/$i" "mine/$i/file" "sticky/$i/file" "sticky/$i/dir"
      chmod 0600 "mine/$i/file"
      chown 1001:1001 "sticky/$i/theirs"
      chmod 1777 "sticky/$i"
      chmod 0555 "closed/$i" && chmod 0444 "closed/$i/file"
      chmod 0640 "list/$i/file" && setfacl -m u:1000:rw "list/$i/file"
      setfacl -m u:1000:rwx "list/$i"
      chown 3000:3000 "nobodys/$i" "nobodys/$i/file"
      chmod 0700 "hidden/$i"
    done
    mkdir -m 2775 setgid && chown 0:2000 setgid && chmod 2775 setgid && mkdir setgid/below && chown 0:2000 setgid/below
    chmod 2775 setgid/below
    for i in {1..6}; do cp /bin/true "set$i" && chown 1000:2000 "set$i" && chmod 6775 "set$i"; done
  )
}

@test "credentials: groups, and the lack of them" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *
member, other = As(1000, groups=[2000]), As(1000, groups=[2001, 2002])
member.finds("ok", append, "group/1/file")
other.finds("EACCES", append, "group/2/file")
member.finds("ok", os.unlink, "group/3/file")
other.finds("EACCES", os.unlink, "group/4/file")
member.finds("ok", os.rename, "group/5/file", "group/5/moved")
other.finds("EACCES", os.rename, "group/6/file", "group/6/moved")
member.finds("True", os.access, "group/7/file", os.W_OK)
other.finds("False", os.access, "group/8/file", os.W_OK)
member.finds("EPERM", os.chmod, "group/9/file", 0o777)
member.finds("EPERM", os.chown, "group/9/file", -1, 2000)
member.finds("ok", os.truncate, "group/10/file", 0)
other.finds("EACCES", os.truncate, "group/11/file", 0)
member.finds("ok", os.rename, "group/12", "group/12")
member.finds("EACCES", os.rename, "group/12/file", "many/1")
same(os.stat("group/11/file").st_size, 6, "refused")
owner = As(1000, groups=[2000])
owner.finds("ok", os.chown, "mine/1/file", -1, 2000)
owner.finds("EPERM", os.chown, "mine/2/file", -1, 2001)
owner.finds("EPERM", os.chown, "mine/3/file", 1001, -1)
owner.finds("ok", os.chmod, "mine/4/file", 0o2777)
same(os.stat("mine/4/file").st_mode & 0o7777, 0o2777, "setgid of a member")
As(1000, gid=1005).finds("ok", os.chmod, "mine/5/file", 0o2777)
same(os.stat("mine/5/file").st_mode & 0o7777, 0o777, "chmod takes setgid away when not a member")
EOF
}

# The same thread each time: what the agent knows of one call holds for that one only.
@test "credentials: a process that changes them from call to call" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *

def mine(want, call, *args, uid=0, gid=0, groups=(), without=()):
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    if without:
        drop_capabilities(*without)
    got = outcome(call, *args)
    os.seteuid(0)
    if without:
        os.seteuid(1000)
        os.seteuid(0)
    os.setegid(0)
    os.setgroups([])
    same(got, want, f"{call.__name__}{args} as {uid}, {gid}, {groups} without {without}")

mine("ok", os.unlink, "closed/1/file")
mine("EACCES", os.unlink, "closed/2/file", uid=1000)
mine("ok", os.unlink, "closed/3/file")
mine("EACCES", os.unlink, "nobodys/4/file", without=[DAC_OVERRIDE])
mine("ok", os.unlink, "closed/5/file")
mine("ok", os.unlink, "group/1/file", uid=1000, groups=[2000])
mine("EACCES", os.unlink, "group/2/file", uid=1000)
mine("ok", os.unlink, "group/3/file", uid=1000, gid=2000)
mine("EACCES", os.unlink, "group/4/file", uid=1000, groups=[2001])
mine("EPERM", os.unlink, "sticky/1/theirs", uid=1000)
mine("ok", os.unlink, "sticky/1/file", uid=1000)
mine("EACCES", os.open, "mine/1/file", os.O_WRONLY, uid=1001)
mine("ok", os.truncate, "mine/1/file", 0, uid=1000)
for name, who, want in (("mine/2", 1001, "EACCES"), ("mine/3", 1000, "ok"), ("hidden/4", 1000, "EACCES")):
    os.chdir(name)
    mine(want, os.unlink, "file", uid=who)
    os.chdir("/work")

handle = os.open("hidden/5/way", os.O_RDONLY)
os.chmod("hidden/5/way", 0o666)

def by_handle():
    os.unlink("file", dir_fd=handle)

mine("EACCES", by_handle, uid=1000)
mine("ok", by_handle)
EOF
}

@test "credentials: sticky directories" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *
one = As(1000)
one.finds("ok", os.unlink, "sticky/1/file")
one.finds("EPERM", os.unlink, "sticky/1/theirs")
one.finds("ok", os.rename, "sticky/2/file", "sticky/2/moved")
one.finds("EPERM", os.rename, "sticky/2/theirs", "sticky/2/x")
one.finds("EPERM", os.rename, "sticky/3/file", "sticky/3/theirs")
one.finds("ok", os.rmdir, "sticky/3/dir")
one.finds("ok", os.rename, "sticky/4/dir", "sticky/5/dir2")
As(1000, without=[]).finds("EPERM", os.rename, "sticky/4/theirs", "sticky/5/theirs2")
As(0).finds("ok", os.unlink, "sticky/6/theirs")
As(0, without=[FOWNER]).finds("ok", os.unlink, "sticky/7/theirs")
As(1000).finds("ok", os.unlink, "sticky/8/file")
os.chown("sticky/9", 1000, 1000)
one.finds("ok", os.unlink, "sticky/9/theirs")
os.chown("sticky/10", 1002, 1002)
As(0, without=[FOWNER]).finds("EPERM", os.unlink, "sticky/10/theirs")
As(0, without=[FOWNER]).finds("EPERM", os.rename, "sticky/10/theirs", "sticky/10/x")
As(0).finds("ok", os.rename, "sticky/10/theirs", "sticky/10/x")
EOF
}

@test "credentials: access lists" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *
listed, other = As(1000), As(1001)
listed.finds("ok", append, "list/1/file")
other.finds("EACCES", append, "list/2/file")
listed.finds("True", os.access, "list/3/file", os.W_OK)
other.finds("False", os.access, "list/4/file", os.W_OK)
listed.finds("ok", os.unlink, "list/5/file")
other.finds("EACCES", os.unlink, "list/6/file")
listed.finds("ok", os.rename, "list/7/file", "list/7/moved")
other.finds("EACCES", os.rename, "list/8/file", "list/8/moved")
listed.finds("ok", os.mkdir, "list/9/new")
listed.finds("ok", os.truncate, "list/10/file", 1)
other.finds("EACCES", os.truncate, "list/11/file", 1)
other.finds("EACCES", os.open, "list/12/file", os.O_RDWR | os.O_TRUNC)
same(os.stat("list/12/file").st_size, 5, "refused")
EOF
}

@test "credentials: root without some of its capabilities" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *
whole, less = As(0), As(0, without=[DAC_OVERRIDE, 2, FOWNER])
whole.finds("ok", append, "closed/1/file")
less.finds("EACCES", append, "closed/2/file")
less.finds("EACCES", append, "mine/1/file")
whole.finds("ok", append, "mine/2/file")
whole.finds("ok", os.unlink, "closed/3/file")
less.finds("EACCES", os.unlink, "closed/4/file")
less.finds("EACCES", os.rename, "closed/5/file", "closed/5/moved")
whole.finds("ok", os.rename, "closed/6/file", "closed/6/moved")
less.finds("EPERM", os.chmod, "mine/3/file", 0o644)
whole.finds("ok", os.chmod, "mine/4/file", 0o644)
less.finds("True", os.access, "closed/7/file", os.W_OK)  # access(2) asks with all that is permitted
less.finds("False", os.access, "closed/8/file", os.W_OK, effective_ids=True)
whole.finds("True", os.access, "closed/9/file", os.W_OK)
less.finds("EACCES", os.mkdir, "closed/10/new")
As(1000).finds("EACCES", os.unlink, "hidden/1/way/file")
As(1000).finds("EACCES", os.rename, "hidden/2/way/file", "hidden/2/x")
As(1000).finds("False", os.access, "hidden/3/way/file", os.W_OK)
As(1000).finds("EACCES", os.truncate, "hidden/4/way/file", 0)
less.finds("ok", os.unlink, "hidden/5/way/file")
for flags in os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC | os.O_CREAT:
    As(1000).finds("EACCES", os.open, "hidden/6/way/file", flags)
As(1000).finds("EPERM", os.open, "sticky/11/free", os.O_WRONLY | os.O_TRUNC | os.O_NOATIME)
same((read("hidden/6/way/file"), read("sticky/11/free")), ("way\n", "free\n"), "nothing is lost")
EOF
}

@test "credentials: umask, setgid directories, set-id bits that writing takes away" {
  credentials_tree
  python_in_branch <<'EOF'
from credentials import *
def ids(path):
    st = os.stat(path)
    return st.st_uid, st.st_gid, st.st_mode & 0o7777
member = As(1000, groups=[2000], umask=0o027)
member.finds("ok", os.open, "setgid/file", os.O_CREAT | os.O_WRONLY, 0o666)
same(ids("setgid/file"), (1000, 2000, 0o640), "a file in a setgid directory")
member.finds("ok", os.mkdir, "setgid/below/dir")
same(ids("setgid/below/dir"), (1000, 2000, 0o2750), "a directory in one")
As(1000, groups=[2000], umask=0).finds("ok", os.open, "setgid/exec", os.O_CREAT | os.O_WRONLY, 0o2777)
same(ids("setgid/exec"), (1000, 2000, 0o2777), "a member's setgid file")
member.finds("ok", append, "set1")
same(ids("set1"), (1000, 2000, 0o775), "after a write")
As(0).finds("ok", append, "set2")
first = open("/proc/self/uid_map").read().split() == ["0", "0", "4294967295"]  # elsewhere CAP_FSETID is none for write(2)
same(ids("set2"), (1000, 2000, 0o6775 if first else 0o775), "after a write with CAP_FSETID")
member.finds("ok", os.truncate, "set3", 5)
same(ids("set3"), (1000, 2000, 0o775), "after truncate")
member.finds("ok", os.open, "set4", os.O_WRONLY | os.O_TRUNC)
same(ids("set4"), (1000, 2000, 0o775), "after O_TRUNC")
As(0).finds("ok", os.chown, "set5", 1000, 1000)
same(ids("set5"), (1000, 1000, 0o775), "after chown")
member.finds("ok", os.utime, "set6", (1, 1))
same(ids("set6"), (1000, 2000, 0o6775), "after utimes")
EOF
}

@test "credentials: a limit on the size of files is the process's own" {
  python_in_branch <<'EOF'
import resource, signal
from credentials import *
def limited(call, *args):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    call(*args)
def killed():
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        os.truncate("many/2", 2000)
        os._exit(0)
    return os.waitpid(child, 0)[1]
As(0).finds("EFBIG", limited, os.truncate, "many/1", 2000)
same(os.stat("many/1").st_size, 7, "refused")
As(0).finds("ok", limited, os.truncate, "many/3", 900)
same(killed(), signal.SIGXFSZ, "the signal")
As(0).finds("ok", limited, append, "src/main.c")
EOF
}

@test "credentials: links in sticky directories, and to files of others" {
  credentials_tree
  ln -s ../../mine/1/file "$LOWER/sticky/1/link"
  chown -h 1001:1001 "$LOWER/sticky/1/link"
  python_in_branch <<'EOF'
from credentials import *
def sysctl(name):
    return open("/proc/sys/fs/" + name).read().strip() != "0"
hard, soft, regular = sysctl("protected_hardlinks"), sysctl("protected_symlinks"), sysctl("protected_regular")
one = As(1000)
one.finds("EPERM" if hard else "ok", os.link, "sticky/2/theirs", "sticky/2/hard")
one.finds("ok", os.link, "mine/2/file", "mine/2/hard")
As(1001).finds("EPERM" if hard else "ok", os.link, "set1", "sticky/3/hard")
one.finds("False" if soft else "True", os.access, "sticky/1/link", os.W_OK)
one.finds("EACCES" if soft else "ok", append, "sticky/1/link")
os.chmod("sticky/4/theirs", 0o666)
one.finds("EACCES" if regular else "ok", os.open, "sticky/4/theirs", os.O_WRONLY | os.O_CREAT)
EOF
}

# What a process in a user namespace of its own may do, where its capabilities reach and where they don't.
in_namespace='
from credentials import *
def check_all(root, mapped, name):
    root.finds("ok", append, "closed/1/file")
    root.finds("ok", os.unlink, "closed/2/file")
    root.finds("ok", os.rename, "closed/3/file", "closed/3/moved")
    root.finds("True", os.access, "closed/4/file", os.W_OK)
    root.finds("ok" if mapped else "EACCES", append, "mine/1/file")
    root.finds("ok" if mapped else "EACCES", os.unlink, "mine/2/file")
    root.finds("ok" if mapped else "EACCES", os.rename, "mine/3/file", "mine/3/moved")
    root.finds(str(mapped), os.access, "mine/4/file", os.W_OK)
    root.finds("ok" if mapped else "EPERM", os.chmod, "mine/5/file", 0o644)
    root.finds("ok" if mapped else "EACCES", os.truncate, "mine/6/file", 0)
    root.finds("EACCES", append, "nobodys/1/file")
    root.finds("EACCES", os.unlink, "nobodys/2/file")
    root.finds("EACCES", os.rename, "nobodys/3/file", "nobodys/3/moved")
    root.finds("False", os.access, "nobodys/4/file", os.W_OK)
    root.finds("EPERM", os.chmod, "nobodys/5/file", 0o644)
    root.finds("EACCES", os.rename, "closed/6/file", "nobodys/6/moved")
    root.finds("EACCES", os.mkdir, "nobodys/7/new")
    root.finds("ok", os.rename, "closed/8", "closed/8.moved")
    root.finds("EINVAL", os.chown, "closed/9/file", 3000, 3000)
    root.finds("ok" if mapped else "EPERM", os.unlink, "sticky/10/theirs")
    root.finds("ok", os.rename, "closed/11/file", "closed/12/file")
'

@test "credentials: a container in a user namespace of its own" {
  ID_MAP=0:0:2000
  credentials_tree
  chown 1002:1002 "$LOWER/sticky/10"
  python_in_branch <<EOF
$in_namespace
check_all(As(0), True, "container")
As(1000).finds("ok", append, "mine/7/file")
As(1000).finds("EACCES", os.unlink, "closed/10/file")
As(1000).finds("EPERM", os.unlink, "sticky/1/theirs")
As(0, without=[DAC_OVERRIDE, 2]).finds("EACCES", os.unlink, "closed/10/file")
EOF
}

@test "credentials: a process that makes a user namespace" {
  ALL_CAPABILITIES=1
  credentials_tree
  chown 1002:1002 "$LOWER/sticky/10"
  python_in_branch <<EOF
$in_namespace
check_all(As(0, namespace=("0 0 1", "0 0 1")), False, "alone")
EOF
}

@test "credentials: a process that makes a user namespace with some of the ids" {
  ALL_CAPABILITIES=1
  credentials_tree
  chown 1002:1002 "$LOWER/sticky/10"
  python_in_branch <<EOF
$in_namespace
check_all(As(0, namespace=("0 0 1\n1 1 1999", "0 0 1\n1 1 1999")), True, "some")
fd = os.open("mine/8/file", os.O_RDONLY)
shifted = As(500, namespace=("0 500 1\n500 1000 1", "0 500 1\n500 1000 1"))
shifted.finds("ok", append, "mine/9/file")
shifted.finds("ok", os.chown, f"/proc/self/fd/{fd}", 500, 500)
shifted.finds("EINVAL", os.chown, f"/proc/self/fd/{fd}", 1000, -1)
EOF
}

@test "credentials: entries of an owner who has no id in the container" {
  local place changed=
  [[ $ROOTLESS ]] || changed="M many/1"
  credentials_tree
  remember_lower
  # Rootless: not one of the user's ids. Elsewhere nobody is without an id, and these are an ordinary stranger's.
  place=$(rootless_path "$(work_source)")
  chown 70000:70000 "$place/README" "$place/own" "$place"/many/[12]
  [[ ${COWRUN_TEST_PLAIN-} ]] || { rm "$T/before" && remember_lower; }
  python_in_branch <<'EOF'
from credentials import *
one = As(1000)
one.finds("EACCES", append, "README")
one.finds("EACCES", os.truncate, "README", 0)
one.finds("False", os.access, "README", os.W_OK)
one.finds("EACCES", os.open, "README", os.O_RDWR | os.O_TRUNC)
one.finds("EACCES", os.mkdir, "own/new")
one.finds("EACCES", os.unlink, "own/file")
same(read("README"), "a lower file\n", "it is read")
stranger = os.stat("many/1").st_uid == 70000
As(0).finds("ok" if stranger else "EACCES", append, "many/1")
As(0).finds(str(stranger), os.access, "many/2", os.W_OK)
os.unlink("README")
write("README", "mine\n")
same(os.stat("README").st_uid, 0, "in its place")
EOF
  branch_is "$ID" "M README" ${changed:+"$changed"}
}
