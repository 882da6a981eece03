# bats file_tags=cowrun
# Bad input, missing things, failing parts: one line that names the thing, a status that is not 0, nothing left, and the
# lower untouched (teardown sees to the last two). The user's command must never have run.
load helpers

# refused TEXT: the container as it stands does not start, and the message holds TEXT.
refused() {
  expect_failure "$1" run_container "$ID" /bin/sh -c 'echo COMMAND-RAN; echo x >/work/COMMAND-RAN'
  said_in_one_line
}

said_in_one_line() {
  [[ $output != *COMMAND-RAN* ]] || {
    echo "the command ran: $output"
    return 1
  }
  [[ $(wc -l <<<"$output") == 1 ]] || {
    echo "more than one line: $output"
    return 1
  }
  remove "$ID" >/dev/null 2>&1 || true
  nothing_left
}

@test "a workdir that is no mount of the container" {
  ANNOTATIONS=("run.cowrun.workdir=/nowhere")
  refused /nowhere
}

@test "a workdir below a mount, or with a mount's name as its beginning" {
  ANNOTATIONS=("run.cowrun.workdir=/work/src")
  refused /work/src
  ANNOTATIONS=("run.cowrun.workdir=/wor")
  refused /wor
}

@test "a workdir that is not absolute, and one that is /" {
  ANNOTATIONS=("run.cowrun.workdir=work")
  refused work
  ANNOTATIONS=("run.cowrun.workdir=/")
  refused "/"
  ANNOTATIONS=("run.cowrun.workdir=")
  refused run.cowrun.workdir
  ANNOTATIONS=("run.cowrun.workdir=/work/../t")
  refused "run.cowrun.workdir"
}

@test "a workdir that is a file" {
  echo file >"$T/file"
  VOLUMES=("$T/file:/work")
  refused "$(rootless_path "$T/file")"
}

# bats test_tags=bundle
@test "a workdir whose source is missing" {
  # podman itself refuses it
  VOLUMES=("$T/missing:/work")
  refused "$T/missing"
}

# bats test_tags=bundle
@test "a workdir that is a tmpfs" {
  VOLUMES=("$SHARE:/t:ro")
  bundle_make "$ID" /bin/true
  jq '.mounts += [{destination: "/work", type: "tmpfs", source: "tmpfs"}]' "$T/$ID/config.json" >"$T/new"
  mv "$T/new" "$T/$ID/config.json"
  remember_lower
  IDS+=("$ID")
  expect_failure /work bundle_runtime run --bundle "$T/$ID" "$ID"
}

@test "nested and repeated workdirs" {
  VOLUMES+=("$LOWER/src:/work/src")
  ANNOTATIONS=("run.cowrun.workdir=/work:/work/src")
  refused /work/src
  ANNOTATIONS=("run.cowrun.workdir=/work:/work")
  refused /work
}

@test "an annotation of cowrun's that it does not know, or with a value that it does not" {
  local annotation
  for annotation in run.cowrun.workdri=/work run.cowrun.Workdir=/work run.cowrun.=x run.cowrun.on-exit=sometimes \
    run.cowrun.landlock=maybe run.cowrun.branch=../x run.cowrun.branch= run.cowrun.branch=a/b; do
    container_defaults "$ID"
    [[ $annotation != *branch* ]] || ANNOTATIONS=("run.cowrun.workdir=/work")
    ANNOTATIONS+=("$annotation")
    refused "${annotation%%=*}"
  done
}

@test "annotations of cowrun's, but no workdir" {
  ANNOTATIONS=("run.cowrun.branch=$ID")
  refused run.cowrun
}

# bats test_tags=bundle
@test "a broken, an empty and a huge config.json" {
  remember_lower
  IDS+=("$ID")
  local text
  for text in '{"annotations": {"run.cowrun.workdir"' '' '[]' '{"annotations": 7}' \
    '{"annotations": {"run.cowrun.workdir": "/work", "run.cowrun.workdir": "/t"}}'; do
    mkdir -p "$T/$ID"
    printf '%s' "$text" >"$T/$ID/config.json"
    expect_failure "" bundle_runtime create --bundle "$T/$ID" "$ID"
    said_in_one_line
    [[ $(<"$T/$ID/config.json") == "$text" ]]
  done
  head -c 100000000 /dev/zero | tr '\0' ' ' >"$T/$ID/config.json"
  expect_failure config.json bundle_runtime create --bundle "$T/$ID" "$ID"
  said_in_one_line
  printf '[%.0s' {1..5000} >"$T/$ID/config.json"
  expect_failure config.json bundle_runtime create --bundle "$T/$ID" "$ID"
  said_in_one_line
}

# bats test_tags=bundle
@test "a bundle that is not there" {
  remember_lower
  expect_failure "$T/none" bundle_runtime create --bundle "$T/none" "$ID"
  said_in_one_line
}

# bats test_tags=bundle
@test "an id that no runtime takes" {
  remember_lower
  bundle_make "$ID" /bin/true
  local id
  for id in ../x . .. "a/b" "a b" "-x"; do
    expect_failure "" bundle_runtime create --bundle "$T/$ID" "$id"
  done
  expect_failure "" bundle_runtime create --bundle "$T/$ID"
}

# The programs beside the wrapper are found beside it: a copy of them of which one is missing or broken.
other_programs() {
  mkdir "$T/bin"
  cp "$COWRUN_TEST_BIN"/cowrun* "$T/bin/"
  sed "s,$COWRUN_TEST_BIN/cowrun,$T/bin/cowrun," "$RUNTIME" >"$T/runtime"
  chmod +x "$T/runtime"
  RUNTIME=$T/runtime
}

# bats test_tags=bundle
@test "the agent is missing, cannot be run, fails, or says nothing" {
  other_programs
  rm "$T/bin/cowrun-agent"
  refused cowrun-agent
  printf 'not a program' >"$T/bin/cowrun-agent"
  chmod +x "$T/bin/cowrun-agent"
  refused agent
  printf '#!/bin/sh\nexit 1\n' >"$T/bin/cowrun-agent"
  refused agent
  printf '#!/bin/sh\nkill -SEGV $$\n' >"$T/bin/cowrun-agent"
  refused agent
}

# bats test_tags=bundle
@test "the hook is missing or fails" {
  other_programs
  rm "$T/bin/cowrun-hook"
  refused cowrun-hook
  printf '#!/bin/sh\nexit 1\n' >"$T/bin/cowrun-hook"
  chmod +x "$T/bin/cowrun-hook"
  expect_failure "" run_container "$ID" /bin/sh -c 'echo COMMAND-RAN'
  [[ $output != *COMMAND-RAN* ]]
  remove "$ID" >/dev/null 2>&1 || true
  nothing_left
}

# bats test_tags=bundle
@test "init is missing" {
  other_programs
  rm "$T/bin/cowrun-init"
  refused cowrun-init
}

# bats test_tags=bundle
@test "the delegate is missing" {
  bundle_make "$ID" /bin/true
  remember_lower
  # shellcheck disable=SC2030
  sed "s,^export COWRUN_RUNTIME=.*,export COWRUN_RUNTIME=$T/no-such-runtime," "$RUNTIME" >"$T/runtime"
  chmod +x "$T/runtime"
  expect_failure "$T/no-such-runtime" "$T/runtime" --root "$COWRUN_TEST_DIR/r" create --bundle "$T/$ID" "$ID"
  said_in_one_line
}

# with_setting VARIABLE VALUE: a runtime with another of its directories.
with_setting() {
  sed "s,^export $1=.*,export $1=$2," "$COWRUN_TEST_DIR/cowrun" >"$T/runtime"
  chmod +x "$T/runtime"
  RUNTIME=$T/runtime
}

# bats test_tags=bundle
@test "the store cannot be written" {
  echo >"$T/file"
  with_setting COWRUN_STORE "$T/file"
  refused "$T/file"
  with_setting COWRUN_STORE /proc/none
  refused /proc/none
}

# bats test_tags=bundle
@test "the state directory cannot be written, or its name is too long for a socket" {
  echo >"$T/file"
  with_setting COWRUN_STATE "$T/file"
  refused "$T/file"
  with_setting COWRUN_STATE "$T/$(printf 'x%.0s' {1..90})"
  refused xxx
}

# bats test_tags=bundle
@test "the configuration is broken" {
  echo '{"runtimes": 7' >"$T/config.json"
  with_setting COWRUN_CONFIG "$T/config.json"
  refused "$T/config.json"
}

# bats test_tags=bundle
@test "a kernel without the mount API or without Landlock" {
  local call
  printf '#!/bin/sh\nexec %s "$CALL" %s "$@"\n' "$SHARE/bin/without" "$RUNTIME" >"$T/runtime"
  chmod +x "$T/runtime"
  RUNTIME=$T/runtime
  for call in open_tree move_mount mount_setattr landlock_create_ruleset; do
    export CALL=$call
    expect_failure "" run_container "$ID" /bin/sh -c 'echo COMMAND-RAN'
    [[ $output != *COMMAND-RAN* ]]
    remove "$ID" >/dev/null 2>&1 || true
    nothing_left
  done
}

# bats test_tags=bundle
@test "a kernel without seccomp" {
  printf '#!/bin/sh\nexec %s seccomp %s "$@"\n' "$SHARE/bin/without" "$RUNTIME" >"$T/runtime"
  chmod +x "$T/runtime"
  RUNTIME=$T/runtime
  expect_failure "" run_container "$ID" /bin/sh -c 'echo COMMAND-RAN'
  [[ $output != *COMMAND-RAN* ]]
}

# with_seccomp JQ: a bundle with a seccomp profile.
with_seccomp() {
  bundle_make "$ID" /bin/sh -c 'echo COMMAND-RAN'
  jq ".linux.seccomp = $1" "$T/$ID/config.json" >"$T/new"
  mv "$T/new" "$T/$ID/config.json"
}

# bats test_tags=bundle
@test "a bundle with NOTIFY rules or a listener of its own" {
  remember_lower
  IDS+=("$ID")
  with_seccomp '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["mkdir"], action: "SCMP_ACT_NOTIFY"}]}'
  expect_failure "NOTIFY" bundle_runtime create --bundle "$T/$ID" "$ID"
  said_in_one_line
  with_seccomp '{defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/run/x.sock", syscalls: []}'
  expect_failure "listenerPath" bundle_runtime create --bundle "$T/$ID" "$ID"
  said_in_one_line
}

# bats test_tags=bundle
@test "a bundle whose profile denies what cowrun-init needs" {
  remember_lower
  IDS+=("$ID")
  with_seccomp '{defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["landlock_restrict_self"], action: "SCMP_ACT_KILL"}]}'
  expect_failure "denies landlock_restrict_self" bundle_runtime create --bundle "$T/$ID" "$ID"
  said_in_one_line
  nothing_left
}

# bats test_tags=bundle
@test "the delegate refuses the container" {
  bundle_make "$ID" /bin/true
  jq '.linux.namespaces += [{type: "network", path: "/nonexistent/netns"}]' "$T/$ID/config.json" >"$T/new"
  mv "$T/new" "$T/$ID/config.json"
  remember_lower
  expect_failure "netns" bundle_runtime create --bundle "$T/$ID" "$ID"
  bundle_remove "$ID" >/dev/null 2>&1 || true
  nothing_left
}

# bats test_tags=bundle
@test "an id that is taken: the container that has it goes on" {
  start "$ID" /bin/sleep 60
  expect_failure "$ID" bundle_runtime create --bundle "$T/$ID" "$ID"
  exec_in "$ID" /bin/sh -c 'echo still >>/work/README'
  [[ $(exec_in "$ID" tail -n 1 /work/README) == still ]]
  remove "$ID"
  branch_is "$ID" "M README"
}

@test "a command that the image does not have leaves nothing" {
  expect_failure none run_container "$ID" /none/such
  remove "$ID" >/dev/null 2>&1 || true
  nothing_left
}
