# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables that engines.bash reads
# Loaded by every bats file. A scenario is a script that runs inside a container at /work, a branch of a fresh lower; it is
# written once and run for each engine. Whatever it does, the lower must be the same afterwards: teardown compares.

# shellcheck source=tests/e2e/engines.bash
source "$BATS_TEST_DIRNAME/engines.bash"
[[ $ENGINE != podman ]] || export CONTAINERS_CONF=$COWRUN_TEST_DIR/containers.conf

setup() {
  T=$COWRUN_TEST_DIR/t/$BATS_SUITE_TEST_NUMBER
  LOWER=$T/lower
  SHARE=$COWRUN_TEST_DIR/share
  ID=c$BATS_SUITE_TEST_NUMBER
  IDS=()
  MOUNTS=() # of the test's own, in their order
  # What the next container is to be like; tests change these before they start it.
  START_DIR=/work
  USER_IDS=0:0
  ALL_CAPABILITIES=
  ID_MAP= # CONTAINER:HOST:COUNT...: in a user namespace of its own; HOST as the engine's user has them. Or keep-id
  PRESERVE_FDS=
  INHERITED_DIR= # open as descriptor 3, which is bats' own in here
  mkdir -p "$T"
  cp -a "$COWRUN_TEST_DIR/tree" "$LOWER"
  container_defaults "$ID"
}

teardown() {
  local id failed=0
  for id in ${IDS[@]+"${IDS[@]}"}; do remove "$id" >/dev/null 2>&1 || true; done
  if [[ -e $T/before ]]; then
    lower_untouched || failed=1
  fi
  unmount_all || failed=1
  nothing_left || failed=1
  [[ ${COWRUN_TEST_KEEP-} ]] || rm -rf "$T"
  return $failed
}

# mounted DIR mount(8)'s options and source...: until the test ends.
mounted() {
  mkdir -p "$1"
  mount "${@:2}" "$1" && MOUNTS+=("$1")
}

# mounted_new TYPE DIR: a file system of that type, 512 MB, in a file.
mounted_new() {
  local image=$T/image-${#MOUNTS[@]}
  truncate -s 512M "$image"
  "mkfs.$1" -q "$image" >/dev/null || return
  mounted "$2" -o loop -t "$1" "$image"
}

# Agents end a moment after their containers.
unmount_all() {
  local i
  for ((i = ${#MOUNTS[@]} - 1; i >= 0; i--)); do
    eventually umount "${MOUNTS[i]}" || {
      echo "cannot be unmounted: ${MOUNTS[i]}"
      umount -l "${MOUNTS[i]}"
      return 1
    }
  done
}

# container_defaults ID: the annotations and volumes of an ordinary container with a branch of $LOWER named ID.
container_defaults() {
  ANNOTATIONS=("run.cowrun.workdir=/work" "run.cowrun.branch=$1")
  VOLUMES=("$(work_source):/work" "$SHARE:/t:ro")
}

# What is mounted at /work: the lower; in a plain run a copy of it, since nothing protects it there.
work_source() {
  [[ ${COWRUN_TEST_PLAIN-} ]] && echo "$T/plain" || echo "$LOWER"
}

# --- running ---------------------------------------------------------------------------------------------------------

# Before the first container, when the lower is as the test wants it: what it must look like in the end.
remember_lower() {
  [[ ! -e $T/before ]] || return 0
  "$BATS_TEST_DIRNAME/listing" "$LOWER" >"$T/before"
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || cp -a "$LOWER" "$T/plain"
}

lower_untouched() {
  "$BATS_TEST_DIRNAME/listing" "$LOWER" >"$T/after"
  diff "$T/before" "$T/after" >"$T/changes" || {
    echo "the lower was changed:"
    head -n 20 "$T/changes"
    return 1
  }
}

# For what copies everything: in a user namespace nobody can make device nodes, in a branch or not.
without_devices() { [[ ! $ROOTLESS ]] || rm "$LOWER/kinds/null"; }

# The same functions for podman and for bundles; output goes to stdout, the exit status is the command's.
run_container() { remember_lower && IDS+=("$1") && "${ENGINE}_run" "$@"; }
start() { remember_lower && IDS+=("$1") && "${ENGINE}_start" "$@"; }
restart() { "${ENGINE}_restart" "$@"; }
exec_in() { "${ENGINE}_exec" "$@"; }
output_of() { "${ENGINE}_output" "$@"; }
pid_of() { "${ENGINE}_pid" "$@"; }
is_running() { "${ENGINE}_running" "$@"; }
kill_container() { "${ENGINE}_kill" "$@"; }
remove() { "${ENGINE}_remove" "$@"; }

# in_branch [ID]: runs the bash script on stdin in a new container and wants it to succeed; python_in_branch: a Python one.
in_branch() {
  local id=${1-$ID}
  shell_script "$id"
  expect_success run_container "$id" /bin/bash -eu "/t/scripts/$id"
  ran_to_its_end
  remove "$id" >/dev/null
}

python_in_branch() {
  local id=${1-$ID}
  python_script "$id"
  expect_success run_container "$id" /usr/bin/env PYTHONPATH=/t PYTHONDONTWRITEBYTECODE=1 PATH=/t/bin:/usr/bin:/bin \
    /usr/bin/python3 "/t/scripts/$id"
  ran_to_its_end
  remove "$id" >/dev/null
}

# bash_in ID: the same in a container that runs already.
bash_in() {
  shell_script "$1-exec"
  expect_success exec_in "$1" /bin/bash -eu "/t/scripts/$1-exec"
  ran_to_its_end
}

shell_script() {
  { echo '. /t/lib.sh' && cat && echo 'echo scenario-finished'; } >"$SHARE/scripts/$1"
}

python_script() {
  { echo 'from scenario import *' && cat && echo 'finish()'; } >"$SHARE/scripts/$1"
}

# A scenario that was never started, or that ended early, would look like one in which nothing was wrong.
ran_to_its_end() {
  [[ $output == *scenario-finished ]] || {
    echo "the scenario did not run to its end: $output"
    return 1
  }
}

expect_success() {
  local status=0
  "$@" >"$T/said" || status=$?
  output=$(<"$T/said")
  [[ $status == 0 ]] || {
    echo "$1 $2: status $status"
    echo "$output"
    return 1
  }
}

# expect_failure TEXT COMMAND...: it fails with one line that holds TEXT.
expect_failure() {
  local text=$1 status=0
  shift
  "$@" >"$T/said" 2>&1 || status=$?
  output=$(<"$T/said")
  [[ $status != 0 && $output == *"$text"* ]] || {
    echo "$*: status $status, want a failure that says '$text'; got:"
    echo "$output"
    return 1
  }
}

# eventually COMMAND...: within ten seconds.
eventually() {
  local i
  for ((i = 0; i < 200; i++)); do
    if "$@"; then return 0; fi # said, for in teardown a bare return means the failed test's status
    sleep 0.05
  done
  echo "never came true: $*"
  return 1
}

not() { ! "$@"; }

# --- branches --------------------------------------------------------------------------------------------------------

branch() { as_user "$COWRUN" branch "$@"; }

# branch_is ID LINE...: what `cowrun branch diff --name-status` prints ("A path": the tab may be written as a blank).
branch_is() {
  local want got
  [[ ! ${COWRUN_TEST_PLAIN-} ]] || return 0
  want=$(printf '%s\n' "${@:2}" | sed 's/^\([AMD]\) /\1\t/; s/^\(R .* -> .*\)$/\1/')
  got=$(branch diff --name-status "$1") || return
  [[ $got == "$want" ]] || {
    diff <(echo "$want") <(echo "$got") | sed 's/^</want:/; s/^>/got: /'
    return 1
  }
}

# Processes of cowrun's that serve a container: they have its state directory on their command line. ([/]: not this grep.)
agents() {
  grep -slz -- "^${COWRUN_STATE}[/]" /proc/[0-9]*/cmdline | sed 's,^/proc/,,; s,/cmdline$,,'
}

# When the test's containers are gone, so are their agents, their state and every mount.
nothing_left() {
  eventually no_agents && no_state && no_mounts
}

no_agents() { [[ ! $(agents) ]]; }

no_state() {
  [[ ! -d $COWRUN_STATE || ! $(ls -A "$COWRUN_STATE") ]] || {
    echo "state left behind: $(ls "$COWRUN_STATE")"
    return 1
  }
}

no_mounts() {
  local left
  left=$({ cat /proc/self/mountinfo && [[ ! $ROOTLESS ]] || rootless_mounts; } |
    awk -v a="$COWRUN_STORE" -v b="$T/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}')
  [[ ! $left ]] || {
    echo "mounts left behind: $left"
    return 1
  }
}
