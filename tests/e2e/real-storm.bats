# Many programs at once: in one container, and in several containers that have branches of one lower.
# bats file_tags=long
load helpers
load real

lower_for_many() {
  cp -a "$BATS_TEST_DIRNAME"/../../{Makefile,runtime,hooks} "$LOWER/"
  (
    cd "$LOWER" || exit
    for place in a b c d; do mkdir -p "pop/$place/x/y" && (cd "pop/$place/x/y" && for i in {1..40}; do echo "$place $i" >"$i"; done); done
    git init -q -b main repo && cd repo && for i in {1..30}; do mkdir -p "d$((i % 5))" && echo "$i" >"d$((i % 5))/f$i"; done
    git config gc.auto 0 && git config pack.threads 1 && rm -f .git/hooks/* && export HOME=$T
    git add . && git -c user.name=A -c user.email=a@example.org commit -q -m one && git status >/dev/null
  )
  /usr/bin/python3 -c "
import sqlite3
db = sqlite3.connect('$LOWER/data.db')
db.execute('create table t (n int)')
db.executemany('insert into t values (?)', [(n,) for n in range(100)])
db.commit()"
  find "$LOWER" -exec touch -h -d '2020-01-02 03:04:05.678901234' {} +
}

# Each job has its own part of the tree, and all of them the root. COWRUN_TEST_STORM: how many times as long.
many_programs() {
  echo "n=${COWRUN_TEST_STORM:-1}"
  cat <<'END'
job_make() {
  objects=$(cd runtime && printf 'build/obj/runtime/%s.o ' lib/{copy,error,fd,log,place} graft/{bin,claim,names})
  for ((i = 0; i < n; i++)); do make -s -j2 CFLAGS=-O0 $objects; ls $objects; touch runtime/lib/fd.c; make -s CFLAGS=-O0 $objects; make -s clean; done
}
job_git() {
  cd repo
  for ((i = 1; i <= 3 * n; i++)); do
    echo "$i" >>"d1/f$((i * 5 + 1 > 30 ? 1 : i * 5 + 1))"; echo new >"d2/new$i"; git add .; git commit -q -m "c$i"
    git stash -q 2>/dev/null; git checkout -q -b "b$i" HEAD~1; git mv d3 "d3-$i"; git commit -q -m "moved $i"; git checkout -q main
    git merge -q --no-edit "b$i"; git mv "d3-$i" d3; git commit -q -m back
  done
  git gc -q; git fsck --no-progress; git log --format='%H %s'; git ls-files --stage
}
job_sqlite() {
  for mode in delete wal; do
    for ((i = 0; i < 8 * n; i++)); do sqlite3 data.db ".timeout 60000" "pragma journal_mode=$mode" 'update t set n = n + 1' 'select sum(n) from t'; done
  done
}
job_copy() {
  for ((i = 1; i <= 2 * n; i++)); do
    cp -a pop/a copy; rsync -aH --delete pop/a/ copy/; diff -r pop/a copy; mv copy "copy$i"; tar -cf - "copy$i" | tar -xf - --one-top-level=out
    rm -rf "copy$i"; find out -name '1?' -delete; chmod -R go-r out; rm -r out
  done
  rm -rf pop/a; ls pop/a || true
}
job_edit() {
  for i in {1..20}; do
    sed -i "s/b/edited $i/" "pop/b/x/y/$i"; echo more >>"pop/b/x/y/$i"; mv "pop/b/x/y/$i" "pop/b/$i"; ln -f "pop/b/$i" "pop/b/l$i"
  done
  cat pop/b/{1..20} pop/b/l7
}
job_move() {
  for ((i = 0; i < 20 * n; i++)); do mv pop/c "pop/c$i"; echo "$i" >>"pop/c$i/x/y/1"; mv "pop/c$i/x" "pop/c$i/z"; mv "pop/c$i" pop/c; mv pop/c/z pop/c/x; done
  cat pop/c/x/y/1
}
job_temporary() { # in the root, where all jobs' entries are
  for ((i = 0; i < 60 * n; i++)); do f=$(mktemp tmp.XXXXXX); echo "$i" >"$f"; mv "$f" tmp; cat tmp >/dev/null; rm tmp; mkdir tmpdir; rmdir tmpdir; done
}
job_look() { # reads what nobody changes
  for ((i = 0; i < 10 * n; i++)); do
    find pop/d src many -type f -print0 | sort -z | xargs -0 cat | md5sum; ls many | wc -l; git -C . hash-object src/main.c README
  done | sort | uniq -c
}
mkdir -p /dev/shm/out
for job in make git sqlite copy edit move temporary look; do (set -e; "job_$job") >"/dev/shm/out/$job" 2>&1 || echo "status $?" >>"/dev/shm/out/$job" & done
wait
head -n 1000 /dev/shm/out/*
END
}

@test "eight programs at once in one container" {
  lower_for_many
  same_as_plain '(^|/)\.git/index$|^data.db$' < <(many_programs)
}

@test "three containers at once with branches of one lower, eight programs each" {
  local n since pids=()
  lower_for_many
  remember_lower
  since=$(date +%s%N)
  in_script "$since" '(^|/)\.git/index$|^data.db$' < <(many_programs)
  for n in 1 2 3; do
    container_defaults "$ID-$n"
    [[ ! ${COWRUN_TEST_PLAIN-} ]] || { cp -a "$LOWER" "$T/plain$n" && VOLUMES[0]=$T/plain$n:/work; }
    IDS+=("$ID-$n")
    run_container "$ID-$n" /bin/bash -eu "/t/scripts/$ID" >"$T/said$n" 3>&- &
    pids+=($!)
  done
  for n in 1 2 3; do wait "${pids[n - 1]}" || { echo "container $n" && tail -n 50 "$T/said$n" && return 1; }; done
  tail -n 1 "$T/said1" | grep -qx scenario-finished
  alike "what the first and the second say" "$T/said1" "$T/said2"
  alike "what the first and the third say" "$T/said1" "$T/said3"
}
