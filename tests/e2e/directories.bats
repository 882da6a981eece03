# Directories made, renamed and removed.
load helpers

@test "a lower directory with 1,000 files is renamed without copying" {
  mkdir "$LOWER/big"
  (cd "$LOWER/big" && for i in {1..1000}; do echo "content of file $i" >"f$i"; done)
  python_in_branch <<'EOF'
before = os.stat("big/f7").st_dev, os.stat("big/f7").st_ino, os.stat("big/f7").st_ctime_ns
os.rename("big", "moved")
refused("ENOENT", os.stat, "big")
same(len(os.listdir("moved")), 1000, "files")
same((os.stat("moved/f7").st_dev, os.stat("moved/f7").st_ino, os.stat("moved/f7").st_ctime_ns), before, "the file itself")
same(read("moved/f500"), "content of file 500\n", "content")
os.rename("moved", "src/deep/within")
same(read("src/deep/within/f1000"), "content of file 1000\n", "into a subdirectory")
same((os.stat("src/deep/within/f7").st_dev, os.stat("src/deep/within/f7").st_ino), before[:2], "the file itself again")
write("src/deep/within/f1", "changed")
os.unlink("src/deep/within/f2")
same(len(os.listdir("src/deep/within")), 999, "after a change in it")
os.rename("src/deep/within", "big")
same(read("big/f1"), "changed", "back again")
EOF
  branch_is "$ID" "M big/f1" "D big/f2"
}

@test "a renamed lower directory and file show as renames" {
  in_branch <<'EOF'
mv many few
mv README src/LIESMICH
mv src/deep/er src/deep/re
EOF
  branch_is "$ID" "R README -> src/LIESMICH" "R many -> few" "R src/deep/er -> src/deep/re"
}

@test "rename over what exists: files, links, empty directories" {
  python_in_branch <<'EOF'
os.rename("README", "private")
same(read("private"), "a lower file\n", "lower file over lower file")
write("new", "new")
os.rename("new", "many/1")
same(read("many/1"), "new", "new file over lower file")
os.rename("many/2", "kinds/link")
same(read("kinds/link"), "file 2\n", "file over link")
os.rename("src", "empty")
same(sorted(os.listdir("empty")), sorted(["deep", "main.c", "Makefile", "util.c", "util.h"]), "directory over an empty one")
refused("ENOENT", os.stat, "src")
os.mkdir("fresh")
os.rename("many", "fresh")
same(len(os.listdir("fresh")), 19, "lower directory over a new one")
os.rename("fresh/3", "fresh/4")
same(read("fresh/4"), "file 3\n", "within it")
os.link("own/file", "own/other")
os.rename("own/file", "own/other")
check(os.path.exists("own/file") and os.path.exists("own/other"), "rename of one link over another does nothing")
EOF
}

@test "RENAME_NOREPLACE and RENAME_EXCHANGE" {
  python_in_branch <<'EOF'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), old)
NOREPLACE, EXCHANGE = 1, 2
refused("EEXIST", renameat2, "README", "private", NOREPLACE)
refused("EEXIST", renameat2, "README", "src", NOREPLACE)
refused("ENOENT", renameat2, "none", "x", NOREPLACE)
refused("ENOENT", renameat2, "README", "none", EXCHANGE)
refused("EINVAL", renameat2, "README", "private", NOREPLACE | EXCHANGE)
renameat2("README", "src/R", NOREPLACE)
same(read("src/R"), "a lower file\n", "NOREPLACE")
renameat2("private", "many/1", EXCHANGE)
same((read("private"), read("many/1")), ("file 1\n", "only its owner reads this\n"), "EXCHANGE of lower files")
renameat2("many", "src", EXCHANGE)
same((read("many/R"), read("src/2")), ("a lower file\n", "file 2\n"), "EXCHANGE of directories")
write("new", "new")
renameat2("new", "bin", EXCHANGE)
same((read("bin"), sorted(os.listdir("new"))), ("new", ["echo", "script"]), "EXCHANGE of a new file and a lower directory")
EOF
}

@test "rm -rf of lower directories, chmod -R, chown -R, du, find" {
  in_branch <<'EOF'
chmod -R g+w many
is "$(stat -c %a many/1 many | sort -u | tr '\n' ' ')" "664 775 " "chmod -R"
chown -R 12:34 src
is "$(stat -c %u:%g src src/deep/er/file src/main.c | sort -u)" 12:34 "chown -R"
du -s . >/dev/null
is "$(find . -type f | wc -l)" 34 find
rm -rf src many
[[ ! -e src && ! -e many ]] || fail "rm -rf"
rm -rf kinds bin empty own README private
is "$(ls -A)" "" "nothing is left"
echo again >README
mkdir src
is "$(find . | sort | tr '\n' ' ')" ". ./README ./src " "made again"
EOF
}

@test "directories made and removed" {
  python_in_branch <<'EOF'
os.makedirs("a/b/c/d")
write("a/b/c/d/e", "x")
os.mkdir("src/deep/er/new")
os.rmdir("src/deep/er/new")
os.rmdir("empty")
refused("ENOENT", os.stat, "empty")
refused("ENOENT", os.mkdir, "none/new")
os.unlink("src/deep/er/file")
os.rmdir("src/deep/er")
os.rmdir("src/deep")
refused("ENOENT", os.stat, "src/deep")
import shutil
shutil.rmtree("a")
check(not os.path.exists("a"), "rmtree of what was made")
shutil.rmtree("many")
check(not os.path.exists("many"), "rmtree of a lower directory")
EOF
  [[ ${COWRUN_TEST_PLAIN-} ]] || [[ $(branch diff --name-status "$ID") != *$'\n'A* ]]
}

@test "cp -a, tar, sed -i, install and rsync-like work on lower trees" {
  in_branch <<'EOF'
cp -a src copy
diff -r src copy || fail "cp -a"
is "$(stat -c %Y:%a copy/main.c)" "$(stat -c %Y:%a src/main.c)" "attributes of the copy"
tar cf src.tar src
mkdir out
tar xf src.tar -C out
diff -r src out/src || fail tar
tar xf src.tar
diff -r src out/src || fail "tar over what is there"
sed -i 's/lower/changed/' README
is "$(cat README)" "a changed file" "sed -i"
mv src/main.c src/main.c~ && cp src/main.c~ src/main.c
cmp src/main.c src/main.c~
find many -type f | xargs -n 5 touch
find many -name '1*' -delete
is "$(ls many | wc -l)" 9 "find -delete"
EOF
}
