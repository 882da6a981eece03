# bats file_tags=cowrun,bundle
# The wrapper on bundles: what it does to config.json, to options, and to seccomp profiles.
load helpers

edit_config() {
  jq "$1" "$T/$ID/config.json" >"$T/new" && mv "$T/new" "$T/$ID/config.json"
}

run_bundle() {
  remember_lower
  IDS+=("$ID")
  bundle_runtime run --bundle "$T/$ID" "$ID" </dev/null 2>&1
}

@test "config.json keeps what cowrun does not know, to the letter" {
  bundle_make "$ID" /bin/true
  edit_config .
  sed -i '1s/{/{"vnd.example":{"n":1.50,"e":1E+2,"s":"\\u00e9\\\/"},/' "$T/$ID/config.json"
  run_bundle
  tr -d ' \n\t' <"$T/$ID/config.json" >"$T/flat"
  grep -qF '"vnd.example":{"n":1.50,"e":1E+2,' "$T/flat"
  remove "$ID" >/dev/null 2>&1 || true
}

@test "the second create of an edited bundle changes nothing more" {
  bundle_make "$ID" /bin/true
  run_bundle
  remove "$ID" >/dev/null 2>&1 || true
  cp "$T/$ID/config.json" "$T/first"
  run_bundle
  remove "$ID" >/dev/null 2>&1 || true
  diff <(jq -S . "$T/first") <(jq -S . "$T/$ID/config.json")
}

@test "without a workdir config.json is left alone" {
  ANNOTATIONS=("org.example.other=1")
  bundle_make "$ID" /bin/true
  cp "$T/$ID/config.json" "$T/before-run"
  run_bundle
  cmp "$T/before-run" "$T/$ID/config.json"
  remove "$ID" >/dev/null 2>&1 || true
}

@test "options in every form" {
  bundle_make "$ID" /bin/sh -c 'echo x >/work/new'
  remember_lower
  local root=$COWRUN_TEST_DIR/r form
  for form in "--root $root create --bundle $T/$ID $ID" "--root=$root create -b $T/$ID $ID" \
    "--root $root --log $T/log --log-format json create --bundle=$T/$ID --pid-file $T/pid $ID" \
    "--log=$T/log --log-format=json --root=$root --debug create --pid-file=$T/pid -b=$T/$ID $ID" \
    "--root $root create --bundle $T/$ID --no-pivot $ID"; do
    # shellcheck disable=SC2086
    "$RUNTIME" $form </dev/null >"$T/output" 2>&1 || {
      echo "$form:"
      cat "$T/output"
      return 1
    }
    "$RUNTIME" --root="$root" start "$ID"
    eventually stopped
    "$RUNTIME" --root "$root" delete "$ID"
    branch_is "$ID" "A new"
    branch discard "$ID"
  done
  (cd "$T/$ID" && "$RUNTIME" --root "$root" run "$ID" </dev/null)
  branch_is "$ID" "A new"
}

stopped() { [[ $(bundle_runtime state "$ID" | jq -r .status) == stopped ]]; }

@test "fatal errors go to --log, in the format asked for" {
  ANNOTATIONS=("run.cowrun.workdir=/nowhere")
  bundle_make "$ID" /bin/true
  remember_lower
  not bundle_runtime --log "$T/log" --log-format json create --bundle "$T/$ID" "$ID"
  jq -e 'select(.level == "error") | .msg | contains("/nowhere")' "$T/log"
  not bundle_runtime --log "$T/log.text" create --bundle "$T/$ID" "$ID"
  grep -q 'level=error.*/nowhere' "$T/log.text"
}

@test "what it does not know goes to the delegate: state, list, features, --version" {
  [[ $("$RUNTIME" --version) == *"$("$DELEGATE" --version | head -n 1)"* || $("$RUNTIME" --version) == *cowrun* ]]
  start "$ID" /bin/sleep 60
  [[ $(bundle_runtime state "$ID" | jq -r .id) == "$ID" ]]
  [[ $(bundle_runtime list) == *"$ID"* ]]
  bundle_runtime ps "$ID" | grep -qw "$(pid_of "$ID")"
  bundle_runtime pause "$ID"
  bundle_runtime resume "$ID"
  remove "$ID"
  not bundle_runtime no-such-command
}

# The profile that podman and docker have by default, as an OCI profile.
default_profile() {
  jq '{defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 38, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    syscalls: [.syscalls[] | select(.action == "SCMP_ACT_ALLOW" and ((.includes // {}) | . == {} or .caps != null or (.arches // [] | index("amd64") != null)))
      | {names, action, args: (.args // [] | map(select(. != null)))} | if .args == [] then del(.args) else . end]}' \
    /usr/share/containers/seccomp.json
}

# with_profile FILE: the scenario of all profiles: reading, writing, running, deleting.
with_profile() {
  shell_script "$ID" <<'EOF'
echo x >>README
cp bin/echo src/new
is "$(src/new runs)" runs "a program of the branch"
rm -r many
ln -s a b; mv private src/deep/; chmod 600 bin/script
python3=$(/usr/bin/python3 -c 'import os; os.mkfifo("fifo"); os.link("README", "linked"); print("python")')
is "$python3" python python
EOF
  bundle_make "$ID" /bin/bash -eu "/t/scripts/$ID"
  edit_config ".linux.seccomp = $(<"$1")"
  expect_success run_bundle
  ran_to_its_end
  remove "$ID" >/dev/null 2>&1 || true
  [[ $(branch diff --name-status "$ID") == *$'M\tREADME'* ]]
}

@test "a bundle with the default allow list of podman" {
  [[ -e /usr/share/containers/seccomp.json ]] || skip "no /usr/share/containers/seccomp.json"
  default_profile >"$T/profile"
  with_profile "$T/profile"
}

@test "a bundle with a deny list: what it denies stays denied" {
  echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["syslog"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    {"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}' >"$T/profile"
  with_profile "$T/profile"
  branch discard "$ID"
  shell_script "$ID" <<'EOF'
says "not permitted" mkdir made
says "not permitted" mkdir src/made
echo x >src/still-writes
EOF
  bundle_make "$ID" /bin/bash -eu "/t/scripts/$ID"
  edit_config ".linux.seccomp = $(<"$T/profile")"
  expect_success run_bundle
  ran_to_its_end
  remove "$ID" >/dev/null 2>&1 || true
  branch_is "$ID" "A src/still-writes"
}

@test "a bundle with a profile that has conditions on arguments" {
  export TEST_LISTENER=auto # it cannot be merged
  echo '{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
    {"names": ["fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{"index": 2, "value": 2048, "valueTwo": 2048, "op": "SCMP_CMP_MASKED_EQ"}]}]}' >"$T/profile"
  shell_script "$ID" <<'EOF'
says "not permitted" chmod 4755 README
chmod 0700 README
is "$(stat -c %a README)" 700 mode
EOF
  bundle_make "$ID" /bin/bash -eu "/t/scripts/$ID"
  edit_config ".linux.seccomp = $(<"$T/profile")"
  expect_success run_bundle
  ran_to_its_end
  remove "$ID" >/dev/null 2>&1 || true
  branch_is "$ID" "M README"
}

# takes WAY PROFILE: the way to the listener of a container with that profile. Things are changed in it.
takes() {
  bundle_make "$ID" /bin/sleep 60
  edit_config ".linux.seccomp = $(<"$2")"
  remember_lower
  IDS+=("$ID")
  bundle_runtime create --bundle "$T/$ID" --pid-file "$T/$ID/pid" "$ID" </dev/null >"$T/$ID/output" 2>&1 || {
    cat "$T/$ID/output"
    return 1
  }
  bundle_runtime start "$ID"
  exec_in "$ID" /bin/sh -c 'echo x >>/work/README && mv /work/many/1 /work/moved' || return
  [[ $(jq -r .listener "$COWRUN_STATE/$ID."*/state.json) == "$1" ]] || return
  remove "$ID"
  branch discard "$ID"
}

@test "the way to the listener: cowrun-init's, unless the profile would have to be widened for it, or Landlock is off" {
  local other=init
  [[ -e /usr/share/containers/seccomp.json ]] || skip "no /usr/share/containers/seccomp.json"
  [[ $DELEGATE != *crun ]] || other=delegate
  export TEST_LISTENER=auto
  default_profile >"$T/profile"
  takes init "$T/profile"
  # As it was, to the letter.
  diff <(jq -S . "$T/profile") <(jq -S .linux.seccomp "$T/$ID/config.json")
  jq '.syscalls[].names -= ["seccomp"]' "$T/profile" >"$T/narrow"
  takes "$other" "$T/narrow"
  ANNOTATIONS+=("run.cowrun.landlock=off")
  takes "$other" "$T/profile"
}

@test "calls that libseccomp cannot name change what the branch has, too, unless the way to the listener is forced" {
  local name
  export TEST_LISTENER=auto
  for name in setxattrat removexattrat file-setattr; do
    mkdir -p "$LOWER/m/$name"
    echo file >"$LOWER/m/$name/file"
    setfattr -n user.kept -v value "$LOWER/m/$name/file"
  done
  run_container "$ID" /t/bin/mutate /work/m >"$T/mutations"
  remove "$ID" >/dev/null 2>&1 || true
  # ENOSYS: a kernel before 6.13 or 6.17.
  [[ $(grep -cE '^(setxattrat|removexattrat|file-setattr) /work/m/[a-z-]*/file (ok|ENOSYS)$' "$T/mutations") == 3 ]]
}

@test "an unprivileged user and no_new_privs in the bundle" {
  USER_IDS=1000:1000
  shell_script "$ID" <<'EOF'
echo mine >>own/file
says "ermission denied" touch README
is "$(grep NoNewPrivs /proc/self/status | tr -d '[:space:]')" "NoNewPrivs:1" no_new_privs
EOF
  bundle_make "$ID" /bin/bash -eu "/t/scripts/$ID"
  edit_config '.process.noNewPrivileges = true'
  expect_success run_bundle
  ran_to_its_end
  remove "$ID" >/dev/null 2>&1 || true
  branch_is "$ID" "M own/file"
}

@test "nested mounts are made in the branch, and are no change of it" {
  mkdir "$T/nested"
  echo nested >"$T/nested/file"
  VOLUMES+=("$T/nested:/work/not-there/deep" "$T/nested:/work/src/deep")
  shell_script "$ID" <<'EOF'
is "$(cat not-there/deep/file src/deep/file)" $'nested\nnested' "the nested mounts"
echo x >not-there/deep/new
echo x >src/new
[[ -e src/main.c ]] || fail "the rest of src"
EOF
  bundle_make "$ID" /bin/bash -eu "/t/scripts/$ID"
  expect_success run_bundle
  ran_to_its_end
  remove "$ID" >/dev/null 2>&1 || true
  [[ $(<"$T/nested/new") == x ]]
  [[ ! -e $LOWER/not-there ]]
  [[ $(branch diff --name-status "$ID") == *$'A\tsrc/new'* ]]
  not grep -q 'deep' <(branch diff --name-status "$ID")
}
