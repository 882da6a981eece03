# Directories and trees with more entries than is usual: what the budget of mounts is for (runtime/graft/budget.c). They lie
# in memory, with the store: what is asked here is not how fast the disk makes files.
# bats file_tags=long
load helpers

eval "$(declare -f teardown | sed '1s/^teardown/common_teardown/')"

teardown() {
  common_teardown
  local failed=$?
  rm -rf "${FAST-}"
  return $failed
}

# in_memory: the lower of the test, and its store. mounts=N: the budget that the configuration gives.
in_memory() {
  FAST=$(mktemp -d /dev/shm/ctXXXXX)
  mkdir "$FAST/lower" "$FAST/store"
  [[ ! ${1-} ]] || echo "{\"mounts\": $1}" >"$T/config.json"
  export COWRUN_STORE=$FAST/store
  if [[ ! ${COWRUN_TEST_PLAIN-} ]]; then
    sed "s,^export COWRUN_STORE=.*,export COWRUN_STORE=$COWRUN_STORE,; s,^export COWRUN_CONFIG=.*,export COWRUN_CONFIG=$T/config.json," \
      "$COWRUN_TEST_DIR/cowrun" >"$T/runtime"
    chmod +x "$T/runtime"
    RUNTIME=$T/runtime
  fi
  VOLUMES=("$FAST/lower:/work" "$SHARE:/t:ro")
}

fingerprint() { (cd "$FAST/lower" && find . -printf '%p %i %m %n %s %C@ %T@\n' | sort | md5sum); }

still_the_same() {
  [[ ${COWRUN_TEST_PLAIN-} ]] || [[ $(fingerprint) == "$1" ]] || {
    echo "the lower was changed"
    return 1
  }
}

# bats test_tags=bundle
@test "a directory of 100,000 files is written into" {
  local count=5000 mounts=1000 before
  [[ $COWRUN_TEST_ENGINE != bundle-crun ]] || count=100000 mounts=
  in_memory $mounts
  python3 - "$FAST/lower/huge" "$count" <<'EOF'
import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    fd = os.open(f"f{i}", os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(fd, b"file %d\n" % i)
    os.close(fd)
EOF
  before=$(fingerprint)
  python_in_branch <<EOF
count = $count
names = {f"f{i}" for i in range(count)}
before = os.stat("huge")
write("huge/new", "new\n")
after = os.stat("huge")
same(after.st_nlink, before.st_nlink, "links of the directory")
same(set(os.listdir("huge")), names | {"new"}, "all entries")
write("huge/f7", "more\n", os.O_WRONLY | os.O_APPEND)
same(read("huge/f7"), "file 7\nmore\n", "appended")
os.unlink("huge/f8")
refused("ENOENT", os.stat, "huge/f8")
os.rename("huge/f9", "huge/g9")
os.chmod("huge/f10", 0o600)
os.rename("huge/f11", "huge/f12")
for i in range(13, count, 97):
    same(read(f"huge/f{i}"), f"file {i}\n", "content")
types = {(entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False)) for entry in os.scandir("huge")}
same(types, {(True, False)}, "types")
same(len(os.listdir("huge")), count - 1, "entries in the end")
EOF
  still_the_same "$before"
  branch_is "$ID" "M huge/f10" "R huge/f11 -> huge/f12" "M huge/f7" "D huge/f8" "R huge/f9 -> huge/g9" "A huge/new"
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || return 0
  # The next container on the branch.
  container_defaults "$ID"
  VOLUMES=("$FAST/lower:/work" "$SHARE:/t:ro")
  python_in_branch "$ID-2" <<EOF
same(len(os.listdir("huge")), $count - 1, "entries in a new container")
same((read("huge/f7"), read("huge/f12"), read("huge/f13")), ("file 7\nmore\n", "file 11\n", "file 13\n"), "content")
write("huge/f13", "x")
EOF
  branch commit "$ID"
  [[ $(<"$FAST/lower/huge/f12") == "file 11" && $(<"$FAST/lower/huge/f13") == x && ! -e $FAST/lower/huge/f8 ]]
  [[ $(find "$FAST/lower/huge" -type f | wc -l) == $((count - 1)) ]]
}

# bats test_tags=bundle,cowrun
@test "limits: beyond the budget of mounts small files are copies; too many subdirectories cannot be had" {
  in_memory 40
  mkdir "$FAST/lower"/{files,dirs}
  (cd "$FAST/lower/files" && for i in {1..200}; do echo "$i" >"$i"; done)
  (cd "$FAST/lower/dirs" && mkdir {1..100})
  python_in_branch <<'EOF'
before = {name: os.stat("files/" + name).st_ino for name in os.listdir("files")}
write("files/new", "")
copied = [name for name in before if os.stat("files/" + name).st_ino != before[name]]
check(150 < len(copied) < 200, f"{len(copied)} copies")
same({name: read("files/" + name) for name in before}, {name: name + "\n" for name in before}, "content")
refused("ENOSPC", os.mkdir, "dirs/new")
same(len(os.listdir("dirs")), 100, "subdirectories")
refused("ENOSPC", os.rmdir, "dirs/7")
EOF
  branch_is "$ID" "A files/new"
}

# bats test_tags=bundle
@test "every directory of a tree of 2,000 directories and 40,000 files is touched" {
  local before
  in_memory 10000
  python3 - "$FAST/lower" <<'EOF'
import os, sys
os.chdir(sys.argv[1])
for i in range(2000):
    path = f"d{i // 100}/s{i % 100}"
    os.makedirs(path)
    for k in range(20):
        with open(f"{path}/f{k}", "w") as file:
            file.write(f"{i} {k}\n")
EOF
  before=$(fingerprint)
  python_in_branch <<'EOF'
for i in range(2000):
    write(f"d{i // 100}/s{i % 100}/new", "new")
    write(f"d{i // 100}/s{i % 100}/f3", "changed")
for i in range(2000):
    path = f"d{i // 100}/s{i % 100}"
    same(sorted(os.listdir(path)), sorted([f"f{k}" for k in range(20)] + ["new"]), path)
    same((read(path + "/f3"), read(path + "/f5")), ("changed", f"{i} 5\n"), path)
import shutil
shutil.rmtree("d7")
os.rename("d8", "d7")
same(sum(len(files) for _, _, files in os.walk(".")), 1900 * 21, "all files")
EOF
  still_the_same "$before"
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || return 0
  branch diff --name-status "$ID" >"$T/diff"
  [[ $(grep -c '^M' "$T/diff") == 1900 && $(grep -c '^A' "$T/diff") == 1900 && $(grep -c '^R' "$T/diff") == 1 ]]
  [[ $(grep -c '^D' "$T/diff") == 2101 ]]
}
