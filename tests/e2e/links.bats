# Lower files with several names stay one file; so do untouched ones whose whole tree is linked.
load helpers

make_links() {
  ln "$LOWER/README" "$LOWER/again"
  ln "$LOWER/README" "$LOWER/src/deep/er/again"
  ln "$LOWER/many/1" "$LOWER/src/one"
  ln "$LOWER/many/2" "$LOWER/empty/two"
  ln "$LOWER/many/3" "$LOWER/own/three"
  ln "$LOWER/many/4" "$LOWER/many/four"
}

@test "what is done to a lower file by one of its names is seen by all" {
  make_links
  python_in_branch <<'EOF'
import threading

def one(*paths):
    seen = [os.stat(path) for path in paths]
    same({(st.st_dev, st.st_ino) for st in seen}, {(seen[0].st_dev, seen[0].st_ino)}, f"one inode: {paths}")
    same([st.st_nlink for st in seen], [len(paths)] * len(paths), f"links of {paths}")
    same(len({(st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns) for st in seen}), 1, "attributes")

one("README", "again", "src/deep/er/again")
opened = os.open("src/deep/er/again", os.O_RDONLY)
write("again", "changed\n")
one("README", "again", "src/deep/er/again")
same({read("README"), read("again"), read("src/deep/er/again")}, {"changed\n"}, "written")
os.close(opened)
os.chmod("src/one", 0o600)
one("many/1", "src/one")
same(os.stat("many/1").st_mode & 0o777, 0o600, "chmod")
os.utime("many/2", (5, 6))
one("many/2", "empty/two")
os.truncate("own/three", 1)
same(read("many/3"), "f", "truncate")
one("many/3", "own/three")
os.rename("many/four", "many/4")
check(os.path.exists("many/four") and os.path.exists("many/4"), "rename of one over the other does nothing")
os.rename("many/four", "quatre")
os.unlink("many/4")
same(os.listdir("many").count("four"), 0, "renamed")
write("quatre", "x", os.O_WRONLY | os.O_APPEND)
same(read("quatre"), "file 4\nx", "the last name")
same(os.stat("quatre").st_nlink, 1, "the last name's links")
os.unlink("again")
os.unlink("README")
same((read("src/deep/er/again"), os.stat("src/deep/er/again").st_nlink), ("changed\n", 1), "names go one by one")

def writer(path):
    write(path, "a\n", os.O_WRONLY | os.O_APPEND)
threads = [threading.Thread(target=writer, args=(path,)) for path in ["kinds/hard1", "kinds/hard2"] * 4]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
same(read("kinds/hard1"), "one\n" + "a\n" * 8, "several writers by both names")
one("kinds/hard1", "kinds/hard2")
EOF
  branch_is "$ID" "D README" "D again" "M empty/two" "M kinds/hard1" "M kinds/hard2" "M many/1" "M many/2" "M many/3" \
    "D many/4" "R many/four -> quatre" "M own/three" "M quatre" "M src/deep/er/again" "M src/one"
}

@test "a reader never sees the old content by one name after a write by another" {
  make_links
  python_in_branch <<'EOF'
import threading
done = False

def look():
    while not done:
        # The one that is written to is read first: the other is never behind.
        first, second = read("README"), read("src/deep/er/again")
        check(len(second) >= len(first), f"{first!r} before {second!r}")

threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
for i in range(50):
    write("README", f"{i}\n", os.O_WRONLY | os.O_APPEND)
done = True
for thread in threads:
    thread.join()
EOF
}

# bats test_tags=cowrun
@test "commit leaves one file with its names" {
  make_links
  in_branch <<'EOF'
echo more >>src/deep/er/again
chmod 600 many/1
mv many/four many/vier
echo vier >>many/4
EOF
  lower_untouched
  branch commit "$ID"
  [[ $LOWER/README -ef $LOWER/again && $LOWER/README -ef $LOWER/src/deep/er/again ]]
  [[ $(<"$LOWER/README") == $'a lower file\nmore' && $(stat -c %h "$LOWER/again") == 3 ]]
  [[ $LOWER/many/1 -ef $LOWER/src/one && $(stat -c %a:%h "$LOWER/src/one") == 600:2 ]]
  [[ $LOWER/many/4 -ef $LOWER/many/vier && ! -e $LOWER/many/four ]]
  [[ $LOWER/many/2 -ef $LOWER/empty/two && $(<"$LOWER/many/2") == "file 2" ]]
  rm "$T/before" # The lower was changed on purpose.
}

# bats test_tags=cowrun
@test "limits: names outside the workdir part, and an untouched file counts the lower's links" {
  ln "$LOWER/README" "$T/outside"
  ln "$LOWER/many/1" "$LOWER/src/one"
  python_in_branch <<'EOF'
same(os.stat("README").st_nlink, 2, "links of a file with a name elsewhere")
write("README", "changed\n")
same(os.stat("README").st_nlink, 1, "of its copy")
os.unlink("many/1")
same(os.stat("src/one").st_nlink, 2, "after one of its names was deleted")
write("src/one", "changed\n")
same(os.stat("src/one").st_nlink, 1, "of its copy")
EOF
  branch_is "$ID" "M README" "D many/1" "M src/one"
  lower_untouched
  branch commit "$ID"
  [[ $(<"$LOWER/README") == changed && $(<"$T/outside") == "a lower file" && ! -e $LOWER/many/1 ]]
  rm "$T/before" # The lower was changed on purpose.
}

# --- trees that are linked untouched ---------------------------------------------------------------------------------

@test "cp -al of lower trees: one file by both names, whichever is written, moved, deleted" {
  python_in_branch <<'EOF'
import filecmp, subprocess, threading

def one(*paths):
    seen = [os.stat(path) for path in paths]
    same(len({(st.st_dev, st.st_ino, st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_ctime_ns) for st in seen}), 1, f"{paths}")

def copied(*paths):
    one(*paths)
    same(os.stat(paths[0]).st_nlink, len(paths), f"links of {paths}")

before = {path: os.stat(path) for path in ("src/main.c", "many/1", "src/deep/er/file")}
subprocess.run(["cp", "-al", "src", "tree"], check=True)
subprocess.run(["cp", "-al", "many", "tree/many"], check=True)
subprocess.run(["cp", "-al", "tree", "second"], check=True)
for path, st in before.items():
    now = os.stat(path)
    same((now.st_ino, now.st_dev), (st.st_ino, st.st_dev), path)
one("src/main.c", "tree/main.c", "second/main.c")
same(filecmp.dircmp("src", "tree").diff_files, [], "content")
# By each name, by a descriptor that was opened before, in every way that changes a file.
opened = os.open("src/main.c", os.O_RDONLY)
write("tree/main.c", "changed\n")
copied("src/main.c", "tree/main.c", "second/main.c")
same((read("src/main.c"), read("second/main.c")), ("changed\n",) * 2, "written")
os.fchmod(opened, 0o640)
same(os.stat("second/main.c").st_mode & 0o777, 0o640, "by a descriptor from before")
os.close(opened)
os.chmod("second/util.c", 0o600)
copied("src/util.c", "tree/util.c", "second/util.c")
os.utime("src/util.h", (5, 6))
copied("src/util.h", "tree/util.h", "second/util.h")
os.truncate("tree/many/1", 2)
copied("many/1", "tree/many/1", "second/many/1")
os.setxattr("many/2", "user.x", b"y")
same(os.getxattr("second/many/2", "user.x"), b"y", "an attribute")
# Names that come and go.
os.rename("tree/many/3", "tree/trois")
os.rename("second/many", "plenty")
os.unlink("many/3")
write("plenty/3", "three", os.O_WRONLY | os.O_APPEND)
copied("tree/trois", "plenty/3")
same(read("tree/trois"), "file 3\nthree", "after renames")
os.rename("many/4", "plenty/4")
check(os.path.exists("many/4"), "rename of one name over the other does nothing")
os.rename("many/5", "plenty/4")
one("many/4", "tree/many/4")
one("plenty/4", "tree/many/5", "plenty/5")
refused("ENOENT", os.stat, "many/5")
for path in "many/6", "plenty/6":
    os.unlink(path)
same(read("tree/many/6"), "file 6\n", "the last one")
write("tree/many/6", "six")
copied("tree/many/6")
os.link("tree/many/7", "seven")
copied("seven", "many/7", "tree/many/7", "plenty/7")
subprocess.run(["rm", "-r", "many"], check=True)
subprocess.run(["rm", "-r", "tree/deep"], check=True)
same(read("plenty/8"), "file 8\n", "the original's directory is gone")
write("plenty/8", "x")
copied("plenty/8", "tree/many/8")
# Several at once, by all names.
def writer(path):
    write(path, "a\n", os.O_WRONLY | os.O_APPEND)
threads = [threading.Thread(target=writer, args=(path,)) for path in ["plenty/9", "tree/many/9"] * 8]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
same(read("plenty/9"), "file 9\n" + "a\n" * 16, "several writers")
copied("plenty/9", "tree/many/9")
EOF
}

@test "what link(2) refuses it refuses for a file of a tree as well" {
  chmod 0600 "$LOWER/many/1"
  python_in_branch <<'EOF'
import subprocess, sys
os.mkdir("new")
os.mkdir("new/closed", 0o755)
os.mkdir("new/open")
os.chmod("new/open", 0o777)
write("new/README", "")
refused("EEXIST", os.link, "README", "new/README")
refused("ENOENT", os.link, "README", "nothing/README")
refused("ENOENT", os.link, "many/none", "new/none")
refused("ENOTDIR", os.link, "README/", "new/open/README")
refused("ENOENT", os.link, "README", "new/open/README/")
refused("ENOTDIR", os.link, "README", "new/README/README")
refused("EPERM", os.link, "src", "new/src")
refused("EXDEV", os.link, "README", "/dev/shm/README")
gone = os.open("new/open", os.O_RDONLY)
os.symlink("../README", "new/open/link")
os.link("new/open/link", "new/link", follow_symlinks=False)
check(os.path.islink("new/link"), "a symbolic link itself")
other = """
import os, sys
os.setgroups([])
os.setgid(1000)
os.setuid(1000)
for old, new in ("src/main.c", "new/closed/main.c"), ("many/1", "new/open/1"), ("own/file", "new/open/file"), ("many/2", "new/open/2"):
    try:
        os.link(old, new)
        print("ok")
    except OSError as error:
        print(os.strerror(error.errno))
"""
hard = read("/proc/sys/fs/protected_hardlinks").strip() == "1"
said = subprocess.run([sys.executable, "-c", other], stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
no = "Operation not permitted"
same(said[:4], [no, no, "ok", no] if hard else ["Permission denied", "ok", "ok", "ok"], "another user")
for name in os.listdir("new/open"):
    os.unlink("new/open/" + name)
os.rmdir("new/open")
refused("ENOENT", os.link, "many/3", "3", dst_dir_fd=gone)
EOF
}

# bats test_tags=cowrun
@test "a linked tree through restarts, a kill, diff, commit and discard" {
  start "$ID" /bin/sleep 300
  bash_in "$ID" <<'EOF'
cp -al src tree
cp -al many tree/many
mv tree/many/1 tree/one
echo changed >many/2
EOF
  kill_container "$ID" KILL
  eventually not is_running "$ID"
  remove "$ID" >/dev/null
  in_branch "$ID" <<'EOF'
[[ src/main.c -ef tree/main.c && many/1 -ef tree/one && many/2 -ef tree/many/2 && many/3 -ef tree/many/3 ]] || fail "one file each"
is "$(cat tree/many/2)" changed "changed before"
echo changed >tree/one
is "$(cat many/1):$(stat -c %h many/1)" changed:2 "changed now"
echo more >>tree/deep/er/file
[[ src/deep/er/file -ef tree/deep/er/file ]] || fail "deep"
rm many/3
ln -f tree/many/4 many/5
EOF
  lower_untouched
  branch diff "$ID" >"$T/patch"
  branch diff --stat "$ID" >/dev/null
  cp -a "$LOWER" "$T/patched"
  (cd "$T/patched" && git init -q . && git apply "$T/patch")
  cmp "$LOWER/src/util.c" "$T/patched/tree/util.c"
  branch diff --name-status "$ID" >"$T/names"
  grep -qxF $'A\ttree/util.c' "$T/names" && grep -qxF $'M\tmany/5' "$T/names" && grep -qxF $'M\tsrc/deep/er/file' "$T/names"
  grep -qxF 'R many/3 -> tree/many/3' "$T/names"
  branch commit "$ID"
  [[ $LOWER/src/util.c -ef $LOWER/tree/util.c && $LOWER/many/1 -ef $LOWER/tree/one && $LOWER/many/4 -ef $LOWER/many/5 ]]
  [[ $LOWER/src/deep/er/file -ef $LOWER/tree/deep/er/file && $LOWER/many/6 -ef $LOWER/tree/many/6 && ! -e $LOWER/many/3 ]]
  [[ $(<"$LOWER/tree/many/3") == "file 3" && $(stat -c %h "$LOWER/tree/many/3" "$LOWER/many/4" "$LOWER/tree/util.c") == $'1\n3\n2' ]]
  [[ $(<"$LOWER/many/1") == changed ]]
  rm "$T/before"
  container_defaults "$ID-2"
  in_branch "$ID-2" <<'EOF'
cp -al tree again
EOF
  branch discard "$ID-2"
  lower_untouched
}
