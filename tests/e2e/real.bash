# shellcheck shell=bash
# Real programs: the same script runs in a plain copy of the lower under the delegate alone, and in a branch of it. What it
# says must be the same, and the tree that it leaves (share/tree.py), and the lower after `cowrun branch commit`.
# Loaded after helpers.

# What the programs' world is like: no settings of the machine's own, a home that each container has for itself, one output.
real_prelude() {
  cat <<'PRELUDE'
. /t/lib.sh
exec 2>&1
umask 022
export HOME=/dev/shm/home TZ=UTC LANG=C GIT_CONFIG_NOSYSTEM=1 SOURCE_DATE_EPOCH=1600000000 PYTHONDONTWRITEBYTECODE=1
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1600000000 +0000'
export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='1600000000 +0000'
mkdir -p "$HOME"
python3() { /usr/bin/python3 "$@"; }
PRELUDE
}

# same_as_plain [VOLATILE [UNCOUNTED]]: the bash script on stdin, as said above. VOLATILE: see share/tree.py. $OUT is what it said.
# UNCOUNTED, too: files of trees that were linked untouched, whose links are counted when they are committed (a limit).
# The lower is as the script left it afterwards; a test may go on from there with another script.
same_as_plain() {
  local volatile=${1-'(?!)'} uncounted=${2-'(?!)'} since which
  : "$((RUNS += 1))"
  OUT=$T/said.branch
  rm -rf "$T/copy" "$T/before"
  cp -a "$LOWER" "$T/copy"
  sleep 0.01 # more than a tick of the kernel's clock
  since=$(date +%s%N)
  in_script "$since" "$volatile" "$uncounted"
  one_run plain
  one_run branch
  alike "what they say" "$T/said.plain" "$T/said.branch"
  alike "the trees they leave" "$T/tree.plain" "$T/tree.branch"
  if [[ ${COWRUN_TEST_PLAIN-} ]]; then # the other run was in a plain copy, too: do two runs ever say the same?
    rm -rf "$LOWER" && mv "$T/copy" "$LOWER" && rm -rf "$T/plain" "$T/before"
    return
  fi
  lower_untouched || return
  branch commit "$ID-$RUNS" || return
  rm "$T/before"
  alike "the copy and the lower after the commit" \
    <(/usr/bin/python3 "$SHARE/tree.py" "$T/copy" "$since" "$volatile") \
    <(/usr/bin/python3 "$SHARE/tree.py" "$LOWER" "$since" "$volatile")
}

# in_script SINCE VOLATILE UNCOUNTED: the script on stdin, with what comes before and after, is /t/scripts/$ID.
in_script() {
  {
    real_prelude && cat && echo 'echo "--- tree"'
    echo "cd / && python3 /t/tree.py /work $1 '$2' '$3'"
    echo 'echo scenario-finished'
  } >"$SHARE/scripts/$ID"
}

# one_run plain|branch: leaves said.WHICH and tree.WHICH.
one_run() {
  local id=$ID-$RUNS
  container_defaults "$id"
  [[ $1 == branch ]] || {
    id+=-plain
    ANNOTATIONS=()
    VOLUMES[0]=$T/copy:/work
  }
  expect_success run_container "$id" /bin/bash -eu "/t/scripts/$ID"
  ran_to_its_end
  remove "$id" >/dev/null
  sed '/^--- tree$/,$d' "$T/said" >"$T/said.$1"
  sed '1,/^--- tree$/d' "$T/said" >"$T/tree.$1"
}

# alike WHAT PLAIN BRANCH
alike() {
  diff "$2" "$3" >"$T/difference" || {
    echo "$1: < in a plain directory, > in a branch"
    head -n 40 "$T/difference"
    return 1
  }
}
