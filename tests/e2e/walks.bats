# Programs that walk deep trees and change them on the way: they compare directories by device and inode, read them in
# pieces, and go up again by "..".
# bats file_tags=long
load helpers

# $LOWER/deep: 12 levels of directories, three in each of the first, files in all, and 1,500 in one of them.
lower_is_deep() {
  /usr/bin/python3 - "$LOWER" <<'EOF'
import os, sys
top = os.path.join(sys.argv[1], "deep")

def fill(path, level):
    os.mkdir(path)
    for i in range(3):
        with open(f"{path}/f{i}", "w") as file:
            file.write(f"{level} {i}\n")
    if level < 12:
        for i in range(2 if level < 4 else 1):
            fill(f"{path}/d{i}", level + 1)
            os.symlink("../f0", f"{path}/d{i}/up")

fill(top, 1)
os.mkdir(top + "/d0/d1/wide")
for i in range(1500):
    open(f"{top}/d0/d1/wide/{'entry-with-a-rather-long-name-%04d' % i}", "w").close()
for i in range(60):
    os.mkdir(f"{top}/d0/d1/wide/sub{i}")
    open(f"{top}/d0/d1/wide/sub{i}/in", "w").close()
EOF
}

@test "rm -rf of a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
cp -a deep copy
rm -rf deep 2>&1 || fail "rm -rf"
[[ ! -e deep ]] || fail "something is left"
rm -rf copy
EOF
  [[ ${COWRUN_TEST_PLAIN-} ]] || is_all_deleted "$ID"
}

is_all_deleted() {
  not grep -qv $'^D\tdeep' <(branch diff --name-status "$1")
}

@test "rm -r of a part of a deep tree, and again of all" {
  lower_is_deep
  in_branch <<'EOF'
rm -r deep/d0/d0/d1 deep/d0/d1/wide 2>&1 || fail "rm -r"
is "$(ls deep/d0/d0 | tr '\n' ' ')" "d0 f0 f1 f2 up " "what is left"
rm -r deep 2>&1 || fail "rm -r of the rest"
[[ ! -e deep ]] || fail "something is left"
EOF
}

@test "chmod -R and chown -R of a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
chmod -R g+s,o-r deep 2>&1 || fail "chmod -R"
is "$(find deep ! -type l \( ! -perm -g+s -o -perm -o+r \) | wc -l)" 0 "what chmod left out"
chown -R 12:34 deep 2>&1 || fail "chown -R"
is "$(find deep ! -user 12 -o ! -group 34 | wc -l)" 0 "what chown left out"
chmod -R u+rwX,go= deep 2>&1 || fail "chmod -R again"
du -s deep >/dev/null 2>&1 || fail du
EOF
}

@test "find -delete, find -depth -exec, find -execdir in a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
find deep -name f0 -delete 2>&1 || fail "find -name -delete"
is "$(find deep -name f0 | wc -l)" 0 "left of f0"
find deep -depth -type d -exec touch {}/made \; 2>&1 || fail "find -depth -exec"
is "$(find deep -name made | wc -l)" "$(find deep -type d | wc -l)" "files made"
find deep -type d -exec chmod g-w {} \; 2>&1 || fail "find -exec chmod"
find deep/d0/d0 -name f1 -execdir mv {} moved \; 2>&1 || fail "find -execdir"
is "$(find deep/d0/d0 -name f1 | wc -l)" 0 "left of f1"
find deep/d0/d1/wide -name '*name*7*' -delete 2>&1 || fail "find -delete in a wide directory"
find deep -type f -exec sed -i s/x/y/ {} + 2>&1 || fail "find -exec sed"
find deep -depth -delete 2>&1 || fail "find -depth -delete"
[[ ! -e deep ]] || fail "something is left"
EOF
}

@test "tar into, out of and over a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
tar -C deep -cf one.tar . 2>&1 || fail "tar c of ."
echo x >deep/d0/d0/d0/new
tar -C deep -cf two.tar . 2>&1 || fail "tar c of . after a change"
is "$(tar tf two.tar | sort | comm -13 <(tar tf one.tar | sort) -)" ./d0/d0/d0/new "the difference"
rm deep/d0/d0/d0/new
for option in --overwrite --recursive-unlink --no-overwrite-dir --keep-newer-files; do
  tar -C deep $option -xf one.tar 2>&1 || fail "tar x $option"
done
mkdir out
tar -C out -xf one.tar
diff -r deep out || fail "another tree"
EOF
}

@test "tar x over a deep tree that is untouched" {
  lower_is_deep
  (cd "$T" && tar -C "$LOWER" -cf "$T/lower.tar" deep && tar -C "$LOWER/deep" -cf "$T/dot.tar" .)
  VOLUMES+=("$T:/archive:ro")
  in_branch one <<'EOF'
tar -xf /archive/lower.tar 2>&1 || fail "tar x"
EOF
  in_branch two <<'EOF'
tar -C deep -xf /archive/dot.tar 2>&1 || fail "tar x of ."
EOF
  in_branch three <<'EOF'
tar -xf /archive/lower.tar --overwrite 2>&1 || fail "tar x --overwrite"
EOF
  in_branch four <<'EOF'
tar -xf /archive/lower.tar --recursive-unlink 2>&1 || fail "tar x --recursive-unlink"
EOF
  in_branch five <<'EOF'
tar -cf x.tar --remove-files deep 2>&1 || fail "tar c --remove-files"
[[ ! -e deep ]] || fail "something is left"
tar -xf x.tar || fail "tar x of it"
EOF
}

@test "cp -a, mv and rsync of a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
cp -a deep copy
cp -a copy/. deep/ 2>&1 || fail "cp -a over it"
diff -r deep copy || fail "cp -a changed something"
find copy -name f2 -delete
echo new >copy/d0/new
rsync -a --delete copy/ deep/ 2>&1 || fail "rsync --delete"
diff -r deep copy || fail "rsync"
mv deep/d0 moved
mv moved deep/d1/d1/d0
mv deep/d1 deep/d9
is "$(find deep -type f | wc -l)" "$(find copy -type f | wc -l)" "files after mv"
EOF
}

@test "Python: rmtree, fwalk, scandir with deletion, copytree" {
  lower_is_deep
  python_in_branch <<'EOF'
import shutil
shutil.copytree("deep", "copy")
for path, dirs, files, fd in os.fwalk("deep", topdown=False):
    for name in files:
        if name.endswith("1"):
            os.unlink(name, dir_fd=fd)
check(not any(n.endswith("1") for _, _, files in os.walk("deep") for n in files), "fwalk with deletion")
for path, dirs, files, fd in os.fwalk("deep"):
    os.mkdir("made", dir_fd=fd)
    if "made" in dirs:
        dirs.remove("made")
same(sum("made" in dirs for _, dirs, _ in os.walk("deep")), sum(1 for p, _, _ in os.walk("deep") if not p.endswith("made")), "fwalk with mkdir")
seen = []
with os.scandir("deep/d0/d1/wide") as entries:
    for entry in entries:
        seen.append(entry.name)
        if entry.is_file():
            os.unlink(entry.path)
same(len(seen), len(set(seen)), "no entry twice")
same(len(seen), 1500 - 150 + 60 + 1, "no entry left out")
same(len(os.listdir("deep/d0/d1/wide")), 61, "what is left")
shutil.rmtree("deep")
check(not os.path.exists("deep"), "rmtree")
shutil.copytree("copy", "deep")
EOF
}

@test "git clean and git rm of a deep tree" {
  lower_is_deep
  in_branch <<'EOF'
git init -q .
git config user.name Test && git config user.email test@example.org
echo x >tracked && git add tracked && git commit -q -m one
git clean -fdxq deep 2>&1 || fail "git clean"
[[ ! -e deep ]] || fail "something is left"
EOF
}

@test "two at once: du and find walk while others change what they walk through" {
  lower_is_deep
  in_branch <<'EOF'
for i in {1..20}; do
  (cd / && for d in $(find /work/deep -type d | grep -v wide | shuf -n 5 --random-source=<(yes $i)); do echo x >"$d/new$i"; done) &
  du -s deep 2>&1 || fail "du"
  find deep -name none -newer README 2>&1 || fail "find"
  wait
done
rm -rf deep/d0/d0 & rm -rf deep/d0/d1 & rm -rf deep/d1
wait
is "$(ls deep | tr '\n' ' ' | sed 's/new[0-9]* //g')" "d0 f0 f1 f2 " "what is left"
EOF
}

# $LOWER/flat1 to flat5: 1,500 files each, so that a directory is read by several getdents64.
lower_is_wide() {
  mkdir "$LOWER/flat1"
  (cd "$LOWER/flat1" && for i in {1000..2499}; do echo "$i" >"file-with-a-name-of-some-length-$i"; done)
  local i
  for i in {2..5}; do cp -a "$LOWER/flat1" "$LOWER/flat$i"; done
}

@test "loops of getdents64 and unlinkat: as a simple rm, with rewinding, as Go's and Rust's removal" {
  lower_is_wide
  lower_is_deep
  in_branch <<'EOF'
is "$(walk loop flat1)" "saw 1500, twice 0" "a loop"
is "$(ls -A flat1)" "" "after the loop"
is "$(walk again flat2)" "turns 2 saw 1500, twice 0" "a loop that begins anew"
is "$(walk go flat3)" "saw 1500, twice 0" "as Go does it"
is "$(walk rust flat4)" "saw 1500, twice 0" "as Rust does it"
[[ ! -e flat3 && ! -e flat4 ]] || fail "something is left"
walk rust deep/d0 >/dev/null || fail "as Rust does it, deep"
[[ ! -e deep/d0 ]] || fail "something is left"
EOF
}

@test "a half-read directory goes on where it was when entries of it are removed, and begins anew as it is then" {
  lower_is_wide
  in_branch <<'EOF'
for how in path handle dup; do
  case $how in path) dir=flat1 ;; handle) dir=flat2 ;; dup) dir=flat3 ;; esac
  got=$(walk half $dir $how) || fail "$how: $got"
  removed=${got#removed } removed=${removed%%,*}
  is "$got" "removed $removed, then $((1500 - removed)) saw 1500, twice 0" "$how"
done
EOF
}

@test "going up by .. leads to the directories that were seen on the way down" {
  lower_is_deep
  in_branch <<'EOF'
is "$(walk up deep)" "depth 11" "changes on the way up"
is "$(find deep -name made | wc -l)" 12 "files made"
rm deep/made deep/d0/made deep/d0/d0/made
is "$(walk up deep/d1)" "depth 10" "in another part"
EOF
}

# bats test_tags=cowrun
@test "known limit: a directory that another process only reads stays as it was when that one opened it" {
  python_in_branch <<'EOF'
import subprocess
idle, used = os.open("src", os.O_RDONLY), os.open("many", os.O_RDONLY)
subprocess.run(["sh", "-c", "rm src/util.c many/1; echo x >src/new; echo x >many/new"])
check("util.c" in os.listdir(idle) and "new" not in os.listdir(idle), "getdents alone")
check(not os.path.exists("src/util.c") and "new" in os.listdir("src"), "by its path")
refused("ENOENT", os.stat, "1", dir_fd=used)
check("1" not in os.listdir(used) and "new" in os.listdir(used), "after any other use of the handle")
EOF
}

# bats test_tags=cowrun
@test "known limit: who looks at a directory of the lower, changes into it and compares, sees another one" {
  python_in_branch <<'EOF'
before = os.stat("src")
os.chdir("src")
check(os.stat(".").st_ino != before.st_ino, "chdir splits, and a split makes a directory of the branch")
same(os.stat(".").st_ino, os.stat("/work/src").st_ino, "from then on it is the same")
os.chdir("/work")
import subprocess
rmtree = ["perl", "-MFile::Path=remove_tree", "-e", "remove_tree(shift)"]
ran = subprocess.run(rmtree + ["many"], capture_output=True, text=True)
check("changed before chdir" in ran.stderr and len(os.listdir("many")) == 20, f"Perl's remove_tree: {ran.stderr}")
same(subprocess.run(rmtree + ["many"]).returncode, 0, "the second time")
check(not os.path.exists("many"), "the second time")
same(os.stat("src").st_ino, os.stat("/work/src/").st_ino, "from then on it is the same")
EOF
}
