# The tools that people run on a directory: each does in a branch what it does on a plain one.
load helpers

# A git repository in the lower, with an index that has nothing left to refresh.
lower_is_a_checkout() {
  (
    cd "$LOWER" || exit
    rm -rf kinds own
    find . -exec touch -h -d '2020-01-02 03:04:05' {} +
    git init -q -b main .
    git config user.name Test && git config user.email test@example.org && git config gc.auto 0
    git add . && git commit -q -m one
    git status >/dev/null
  )
}

@test "git status in an untouched checkout is clean and rewrites nothing" {
  lower_is_a_checkout
  in_branch <<'EOF'
is "$(git status --porcelain)" "" "git status"
is "$(git diff --stat HEAD)" "" "git diff"
git fsck --no-progress 2>&1 || fail "git fsck"
EOF
  # Not even the index: git found every inode, time and size as it was. (It may try its lock file, which leaves no trace.)
  branch_is "$ID" ""
}

@test "git add, commit, checkout, stash, gc" {
  lower_is_a_checkout
  in_branch <<'EOF'
echo change >>README
echo new >src/new.c
is "$(git status --porcelain)" $' M README\n?? src/new.c' "git status"
git add -A && git commit -q -m two
git checkout -q HEAD~
is "$(cat README)" "a lower file" "checkout"
[[ ! -e src/new.c ]] || fail "checkout left a file"
git checkout -q main
is "$(cat src/new.c)" new "checkout of main"
git mv many some && git commit -q -m three
echo x >>src/util.c && git stash -q && git stash pop -q
git gc -q
git fsck --no-progress 2>&1 || fail "git fsck"
is "$(git log --format=%s | tr '\n' ' ')" "three two one " "git log"
EOF
}

@test "a Python virtual environment is made and runs" {
  in_branch <<'EOF'
/usr/bin/python3 -m venv --without-pip venv
is "$(venv/bin/python -c 'import sys; print(sys.prefix)')" /work/venv prefix
echo 'def f(): return 42' >src/module.py
is "$(cd src && ../venv/bin/python -c 'import module; print(module.f())')" 42 import
[[ -d src/__pycache__ ]] || fail "no bytecode was written"
EOF
}

@test "a SQLite database of the lower is changed" {
  /usr/bin/python3 -c "
import sqlite3
db = sqlite3.connect('$LOWER/data.db')
db.execute('create table t (n int)')
db.executemany('insert into t values (?)', [(n,) for n in range(100)])
db.commit()"
  python_in_branch <<'EOF'
import sqlite3
for mode in "delete", "wal":
    db = sqlite3.connect("data.db")
    db.execute(f"pragma journal_mode={mode}")
    db.execute("update t set n = n + 1")
    db.commit()
    db.close()
same(sqlite3.connect("data.db").execute("select sum(n) from t").fetchone(), (5150,), "sum")
EOF
  branch_is "$ID" "M data.db"
}

@test "make -j with many writers in one tree" {
  in_branch <<'EOF'
mkdir gen
for i in {1..40}; do
  printf 'int f%d(void) { return %d; }\n' $i $i >gen/f$i.c
  printf 'int f%d(void);\n' $i >>src/util.h
done
{
  echo 'all: src/prog2'
  echo 'OBJ = $(patsubst %.c,%.o,$(wildcard gen/*.c)) src/util.o'
  echo 'src/prog2: $(OBJ)'
  echo '	ar rcs $@ $^'
} >Makefile
make -s -j4
is "$(ar t src/prog2 | wc -l)" 41 objects
EOF
}

@test "readers never see a half-made directory while four writers work" {
  mkdir -p "$LOWER"/tree/{a..h}/{1..5}
  local dir
  for dir in "$LOWER"/tree/*/*; do (cd "$dir" && for i in {0..7}; do echo keep >"keep$i"; done); done
  python_in_branch <<'EOF'
import multiprocessing, random, time
directories = [d for d, _, _ in os.walk("/work/tree")]
leaves = [d for d in directories if not any(e.is_dir() for e in os.scandir(d))]
end = time.monotonic() + 3

def writer(number):
    rand, problems = random.Random(number), []
    for turn in range(10 ** 9):
        if time.monotonic() > end:
            break
        try:
            name = f"{rand.choice(directories)}/w{number}-{turn}"
            write(name, "x")
            to = f"{rand.choice(directories)}/r{number}-{turn}"
            os.rename(name, to)
            same(read(to), "x", to)
            os.unlink(to) if turn % 2 else os.rename(to, name)
        except OSError as error:
            problems.append(str(error))
    return problems

def reader(number):
    rand, problems = random.Random(100 + number), []
    while time.monotonic() < end:
        directory = rand.choice(leaves)
        try:
            kept = [name for name in os.listdir(directory) if name.startswith("keep")]
            if len(kept) != 8:
                problems.append(f"{directory}: {kept}")
            if read(directory + "/keep5") != "keep\n":
                problems.append(f"{directory}/keep5 is not what it was")
        except OSError as error:
            problems.append(str(error))
    return problems

with multiprocessing.Pool(7) as pool:
    results = [pool.apply_async(*job) for job in [(writer, (n,)) for n in range(4)] + [(reader, (n,)) for n in range(3)]]
    for result in results:
        problems = result.get()
        check(not problems, f"{len(problems)} problems: {problems[:4]}")
EOF
}
