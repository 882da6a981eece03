# Where things are: other roots and namespaces, links and volumes on the way, and file systems of all kinds below it all.
# bats file_tags=long
load helpers

# What every arrangement of file systems must do. $LOWER has the usual tree, deep and wide.
works() {
  is_deep_and_wide
  work
}

is_deep_and_wide() {
  mkdir -p "$LOWER/deep/1/2/3/4/5/6/7/8/9" "$LOWER/wide"
  local i
  for i in "" 1 1/2 1/2/3 1/2/3/4/5 1/2/3/4/5/6/7/8/9; do echo "in $i" >"$LOWER/deep/$i/file"; done
  for i in {1000..1999}; do echo "$i" >"$LOWER/wide/file-with-a-name-of-some-length-$i"; done
}

work() {
  in_branch <<'EOF'
exec 5<src
echo new >>README
is "$(cat README)" $'a lower file\nnew' "a changed file"
printf '#!/bin/sh\necho ran\n' >src/deep/program
chmod +x src/deep/program
is "$(src/deep/program)" ran "a new program"
is "$(bin/script x)" "bin/script: x" "a lower program"
is "$(bin/echo x)" x "another one"
rm src/util.h
[[ ! -e src/util.h && ! -e /proc/self/fd/5/util.h ]] || fail "a deleted file"
is "$(ls /proc/self/fd/5/ | tr '\n' ' ')" "Makefile deep main.c util.c " "the handle"
mv deep/1/2 moved
mv moved src/deep/
is "$(cat src/deep/moved/3/file)" "in 1/2/3" "a moved directory"
ln many/1 many/one
is "$(stat -c %h many/one)" 2 "a hard link"
echo more >>many/one
is "$(cat many/1)" $'file 1\nmore' "its other name"
mkfifo many/pipe
touch -d 2001-01-01 many/3
is "$(stat -c %Y many/3)" "$(date -d 2001-01-01 +%s)" "a time"
setfattr -n user.new -v value many/4
is "$(getfattr --only-values -n user.new many/4)" value "an attribute"
is "$(walk up src/deep/moved)" "depth 7" "up again"
rm -r src/deep/moved 2>&1 || fail "rm -r"
chmod -R go-w deep 2>&1 || fail "chmod -R"
find wide -name '*5*' -delete 2>&1 || fail "find -delete"
is "$(ls wide | wc -l)" 729 "what is left of wide"
rm -rf wide/* many/[2-9]
mv src/main.c wide/main.c
rmdir empty
is "$(find . ! -name lost+found | wc -l)" 46 "entries in the end"
EOF
}

# `cowrun branch commit` has it all in the lower's place: as it was seen.
commits() {
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || return 0
  branch commit "$ID" >/dev/null
  [[ $(find "$LOWER" -mindepth 1 ! -name lost+found | wc -l) == 45 && $(<"$LOWER/wide/main.c") == *util_name* ]]
  rm "$T/before" # it is to be changed
}

# bats test_tags=rootful
@test "store on tmpfs" {
  mounted "$COWRUN_STORE" -t tmpfs tmpfs
  works
  commits
}

# bats test_tags=rootful
@test "store on xfs" {
  mounted_new xfs "$COWRUN_STORE"
  works
  commits
}

# bats test_tags=rootful
@test "store on btrfs" {
  mounted_new btrfs "$COWRUN_STORE"
  works
  commits
}

# bats test_tags=rootful
@test "store on another ext4" {
  mounted_new ext4 "$COWRUN_STORE"
  works
  commits
}

# bats test_tags=rootful
@test "store on overlayfs, as in a container" {
  mkdir "$T"/{l,u,w}
  mounted "$COWRUN_STORE" -t overlay -o "lowerdir=$T/l,upperdir=$T/u,workdir=$T/w" overlay
  works
  commits
}

lower_on() {
  rm -rf "$LOWER"
  "$@" || return
  cp -a "$COWRUN_TEST_DIR/tree/." "$LOWER"
}

# bats test_tags=rootful
@test "lower on tmpfs" {
  lower_on mounted "$LOWER" -t tmpfs tmpfs
  works
  commits
}

# bats test_tags=rootful
@test "lower on xfs" {
  lower_on mounted_new xfs "$LOWER"
  works
  commits
}

# bats test_tags=rootful
@test "lower on btrfs" {
  lower_on mounted_new btrfs "$LOWER"
  works
  commits
}

# bats test_tags=rootful
@test "lower on overlayfs" {
  mkdir "$T"/{l,u,w}
  cp -a "$LOWER/src" "$T/l/"
  lower_on mounted "$LOWER" -t overlay -o "lowerdir=$T/l,upperdir=$T/u,workdir=$T/w" overlay
  works
  commits
}

@test "a directory on another file system than the branch, half read: nothing is left out" {
  mounted_new ext4 "$COWRUN_STORE"
  mkdir "$LOWER/flat"
  (cd "$LOWER/flat" && for i in {1000..2499}; do echo "$i" >"file-with-a-name-of-some-length-$i"; done)
  in_branch <<'EOF'
got=$(walk half flat handle) || fail "$got"
got=${got#*saw }
((${got%%,*} - ${got##* } == 1500)) || fail "saw $got"
is "$(ls flat | wc -l)" 1248 "what is left"
is "$(walk loop flat)" "saw 1248, twice 0" "a loop of removals"
is "$(ls flat | wc -l)" 0 "what is left then"
EOF
}

# bats test_tags=rootful
@test "read-only lower" {
  lower_on mounted_new xfs "$LOWER"
  is_deep_and_wide
  remember_lower
  mount -o remount,ro "$LOWER"
  work
}

@test "a read-only bind mount as the lower" {
  is_deep_and_wide
  mounted "$LOWER" --bind "$LOWER"
  remember_lower
  mount -o remount,bind,ro "$LOWER"
  work
}

# bats test_tags=rootful
@test "other file systems mounted inside the lower" {
  mkdir "$LOWER"/src/{tmp,deep/tmp}
  mounted "$LOWER/src/tmp" -t tmpfs tmpfs
  mounted "$LOWER/src/deep/tmp" -t tmpfs tmpfs
  mkdir -p "$LOWER"/src/tmp/{a/b/c/d/e/f,g}
  echo x | tee "$LOWER"/src/tmp/{x,a/x,a/b/c/d/e/f/x} >"$LOWER"/src/deep/tmp/x
  python_in_branch <<'EOF'
import shutil
handles = [os.open(path, os.O_RDONLY) for path in ("src/tmp", "src/tmp/a/b", "src/deep/tmp")]
write("src/tmp/a/new", "new")
os.unlink("src/tmp/x")
os.rename("src/tmp/a/x", "src/tmp/g/y")
os.chmod("src/tmp/a/b/c", 0o700)
same(sorted(os.listdir("src/tmp")), ["a", "g"], "the mount")
same(sorted(os.listdir("src/tmp/a")), ["b", "new"], "a directory in it")
same((read("src/tmp/g/y"), read("src/tmp/a/new"), read("src/deep/tmp/x")), ("x\n", "new", "x\n"), "files")
refused("ENOENT", os.stat, "x", dir_fd=handles[0])
write("made", "by handle", dir_fd=handles[1])
same(read("src/tmp/a/b/made"), "by handle", "through a handle")
write("made", "by handle", dir_fd=handles[2])
same(sorted(os.listdir(handles[2])), ["made", "x"], "a handle on a mount")
shutil.rmtree("src/tmp/a")
same(sorted(os.listdir("src/tmp")), ["g"], "after rmtree")
write("src/deep/tmp/x", "changed")
same(read("src/deep/tmp/x"), "changed", "changed")
EOF
}

# bats test_tags=rootful
@test "rm -rf through file systems mounted inside the lower" {
  mkdir "$LOWER"/src/tmp
  mounted "$LOWER/src/tmp" -t tmpfs tmpfs
  mkdir -p "$LOWER"/src/tmp/a/b/c/d/e/f
  echo x | tee "$LOWER"/src/tmp/{x,a/x,a/b/c/d/e/f/x} >/dev/null
  in_branch <<'EOF'
chmod -R go-r src 2>&1 || fail "chmod -R"
is "$(find src -perm -g+r | wc -l)" 0 "left out"
rm -r src/tmp/a 2>&1 || fail "rm -r"
is "$(ls src/tmp)" x "what is left"
mv src/tmp moved
is "$(cat moved/x)" x "moved"
EOF
}

@test "two workdirs: links and renames between them are EXDEV, mv and cp work" {
  cp -a "$LOWER/src" "$T/other"
  mkdir "$T/plain-other"
  cp -a "$LOWER/src/." "$T/plain-other"
  [[ ${COWRUN_TEST_PLAIN-} ]] && VOLUMES+=("$T/plain-other:/other") || VOLUMES+=("$T/other:/other")
  ANNOTATIONS=("run.cowrun.workdir=/work:/other" "run.cowrun.branch=$ID")
  "$BATS_TEST_DIRNAME/listing" "$T/other" >"$T/other.before"
  python_in_branch <<'EOF'
import shutil
here, there = os.open("/work/src", os.O_RDONLY), os.open("/other", os.O_RDONLY)
refused("EXDEV", os.rename, "README", "/other/README")
refused("EXDEV", os.rename, "/other/deep", "/work/deep")
refused("EXDEV", os.link, "README", "/other/README")
refused("EXDEV", os.rename, "util.c", "util2.c", src_dir_fd=here, dst_dir_fd=there)
write("new", "x", dir_fd=there)
refused("EXDEV", os.rename, "new", "new", src_dir_fd=there, dst_dir_fd=here)
shutil.move("src/main.c", "/other/moved.c")
shutil.move("/other/deep", "moved")
same(sorted(os.listdir("/other")), ["Makefile", "main.c", "moved.c", "new", "util.c", "util.h"], "the other one")
same(sorted(os.listdir(there)), sorted(os.listdir("/other")), "its handle")
same(sorted(os.listdir("moved")), ["er"], "moved")
same(sorted(os.listdir("src")), ["Makefile", "deep", "util.c", "util.h"], "src")
EOF
  diff "$T/other.before" <("$BATS_TEST_DIRNAME/listing" "$T/other")
}

@test "the workdir by symbolic links from elsewhere, and the way out of it by .." {
  in_branch <<'EOF'
d=$(mktemp -d /tmp/linksXXXX)
ln -s /work "$d/work"
ln -s ../../work/src "$d/src"
ln -s work/src/deep "$d/deep"
ln -s /work/README "$d/readme"
cd "$d"
echo new >src/new
rm deep/er/file
mkdir deep/er/made work/made
mv src/main.c work/made/
ln src/util.c deep/util.c
chmod 0600 readme
echo more >>readme
touch -d 2001-01-01 work/many/1
is "$(cat /work/src/new)" new "created"
is "$(ls /work/src/deep/er)" made "in a directory"
is "$(ls /work/made)" main.c "moved"
is "$(stat -c %a /work/README):$(tail -n 1 /work/README)" 600:more "a file by a link"
cd work/src
is "$(/bin/pwd)" /work/src "where that is"
echo x >../../work/src/../up
is "$(cat /work/up)" x "up and down again"
cd /work
echo outside >.."$d/file"
is "$(cat "$d/file")" outside "out of it"
[[ -d ../etc && $(stat -c %i ..) == $(stat -c %i /) ]] || fail ".. of the workdir"
rm -r "$d"
is "$(ls many | wc -l)" 20 "nothing behind the links is gone"
EOF
}

@test "processes with another root" {
  python_in_branch <<'EOF'
def in_root(root, work):
    pid = os.fork()
    if pid == 0:
        os.chroot(root)
        os.chdir("/")
        work()
        sys.stdout.flush()
        os._exit(1 if scenario.failed else 0)
    same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, f"with root {root}")

import scenario
for name in ("/work/first", "/etc/second"):
    write(name, "by its whole path, with the container's root")
    os.unlink(name)
before = os.open("src/deep", os.O_RDONLY)

def in_src():
    same(sorted(os.listdir("/")), ["Makefile", "deep", "main.c", "util.c", "util.h"], "what there is")
    write("/new", "x")
    write("/deep/new", "y")
    write("/../../up", "z")
    os.unlink("/util.h")
    os.rename("/main.c", "/deep/main.c")
    os.symlink("/deep/main.c", "/link")
    write("link", "through", os.O_WRONLY | os.O_TRUNC)
    same(read("/deep/main.c"), "through", "a link to /")
    same(os.stat("/..").st_ino, os.stat("/").st_ino, "..")
    write("handle", "h", dir_fd=before)
    same(sorted(os.listdir(before)), ["er", "handle", "main.c", "new"], "a handle from before")
    refused("ENOENT", os.stat, "/work")

in_root("/work/src", in_src)
same(sorted(os.listdir("src")), ["Makefile", "deep", "link", "new", "up", "util.c"], "afterwards")
same((read("src/deep/main.c"), read("src/up")), ("through", "z"), "where it went")

def in_deep():
    os.unlink("/er/file")
    os.rmdir("/er")
    os.chroot(".")
    write("/last", "x")

in_root("/work/src/deep", in_deep)
same(sorted(os.listdir("src/deep")), ["handle", "last", "main.c", "new"], "in the end")
EOF
}

@test "volumes in the workdir: written to, kept from rm and mv, and walked through" {
  mkdir -p "$T/volume/a/b/c/d/e/f" "$LOWER/src/deep/volume"
  echo volume >"$T/volume/a/file"
  echo one-file >"$T/one-file"
  VOLUMES+=("$T/volume:/work/src/deep/volume" "$T/one-file:/work/README")
  in_branch <<'EOF'
is "$(cat README src/deep/volume/a/file)" $'one-file\nvolume' "what is in them"
echo x >src/deep/volume/a/new
echo y >>README
echo z >src/deep/beside
says "busy" mv README other
says "busy" rm README
says "busy" mv src/deep/volume src/deep/other
chmod -R go-w src 2>&1 || fail "chmod -R"
rm src/deep/volume/a/file
says "busy" rm -rf src
is "$(find src | tr '\n' ' ')" "src src/deep src/deep/volume " "what rm left"
echo again >src/again
mv src/again src/deep/again
is "$(ls src/deep | tr '\n' ' ')" "again volume " "as it is then"
EOF
  [[ $(<"$T/one-file") == $'one-file\ny' && -d $T/volume && ! $(ls "$T/volume") ]]
}

# bats test_tags=bundle
@test "a process in a user namespace of its own" {
  python_in_branch <<'EOF'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
handle = os.open("src", os.O_RDONLY)
uid, gid = os.getuid(), os.getgid()
if libc.unshare(0x10000000) != 0:
    raise OSError(ctypes.get_errno(), "unshare")
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    write("/proc/self/" + name, text, os.O_WRONLY)
write("src/new", "x")
write("README", "changed")
os.unlink("src/util.h")
os.rename("src/main.c", "src/deep/main.c")
os.rename("many", "src/many")
os.chmod("private", 0o640)
write("handle", "h", dir_fd=handle)
os.mkdir("made")
same((read("README"), read("src/deep/er/file"), read("src/handle")), ("changed", "deep\n", "h"), "what it reads")
same(sorted(os.listdir("src")), ["Makefile", "deep", "handle", "many", "new", "util.c"], "src")
refused("EINVAL", os.chown, "own/file", 5, 5)
refused("EPERM", os.chmod, "own/file", 0o777)
EOF
}

# bats test_tags=bundle,cowrun
@test "known limit: in a mount namespace of its own a process cannot change what was untouched when it was made" {
  ANNOTATIONS+=("run.cowrun.landlock=off")
  ALL_CAPABILITIES=yes
  in_branch <<'EOF'
echo x >src/new
unshare -m bash -eu <<'INNER' &
. /t/lib.sh
is "$(cat README src/new)" $'a lower file\nx' "it reads all"
says "Read-only" bash -c 'echo x >README'
says "Read-only" bash -c 'echo x >many/new'
echo y >src/new
touch /tmp/ready
until [[ -e /tmp/split ]]; do sleep 0.01; done
is "$(cat many/1)" "" "what is split later has no content there"
says "Read-only" bash -c 'echo x >many/1'
says "Read-only" bash -c 'echo x >>many/2'
says "Read-only" truncate -s 5 many/1
says "Read-only" chmod 600 many/1
says "Read-only" rm -f many/1
says "Read-only" mv many/1 many/one
says "Read-only" ln many/1 many/other
says "Read-only" python3 -c 'import os; os.fchmod(os.open("many/1", os.O_RDONLY), 0o600)'
echo made >many/made
INNER
inner=$!
until [[ -e /tmp/ready ]]; do sleep 0.01; done
is "$(cat src/new)" y "what was the branch's is changed"
echo z >many/new
touch /tmp/split
wait "$inner"
is "$(cat many/1 many/made)" $'file 1\nmade' "what it could not change, and what it made"
EOF
  branch_is "$ID" "A many/made" "A many/new" "A src/new"
}
