# bats file_tags=cowrun
# The wrapper as a process among others: signals, descriptors, races, and what it does when a container has ended.
load helpers

in_bundle() {
  jq "$1" "$T/$ID/config.json" >"$T/new" && mv "$T/new" "$T/$ID/config.json"
}

# A foreground `run` in the background; its pid goes to $running. Descriptor 3 is bats' own.
run_in_background() {
  bundle_make "$ID" "$@"
  remember_lower
  IDS+=("$ID")
  bundle_runtime run --bundle "$T/$ID" "$ID" </dev/null >"$T/output" 2>&1 3>&- &
  running=$!
  eventually grep -q up "$T/output"
}

# The runtime itself, not the shell of bats that runs it.
signal_run() {
  kill "-$1" "$(pgrep -P "$running" || echo "$running")"
}

status_of_run() {
  local status=0
  wait "$running" || status=$?
  [[ $status == "$1" ]] || {
    echo "status $status, not $1"
    return 1
  }
}

@test "on-exit=commit: the lower is what the container left, and the branch is gone" {
  ANNOTATIONS+=("run.cowrun.on-exit=commit")
  in_branch <<'EOF'
echo committed >README
rm -r many
EOF
  eventually test ! -e "$LOWER/many"
  eventually no_branch
  [[ $(<"$LOWER/README") == committed ]]
  rm "$T/before" # The lower was changed on purpose.
}

no_branch() { not branch show "$ID" >/dev/null 2>&1; }

@test "on-exit=commit that meets a conflict keeps the branch and leaves the lower" {
  ANNOTATIONS+=("run.cowrun.on-exit=commit")
  start "$ID" /bin/sh -c 'echo branch >README; exec sleep 60'
  eventually exec_in "$ID" grep -q branch /work/README
  echo host >"$LOWER/README"
  rm "$T/before" && remember_lower
  remove "$ID"
  branch_is "$ID" "M README"
  lower_untouched
}

@test "on-exit=discard: nothing is left" {
  ANNOTATIONS+=("run.cowrun.on-exit=discard")
  in_branch <<'EOF'
echo gone >README
EOF
  eventually no_branch
}

# bats test_tags=bundle
@test "a container that came to nothing leaves no branch, and one that was there before stays" {
  bundle_make "$ID" /bin/true
  in_bundle '.linux.namespaces += [{type: "network", path: "/nonexistent/netns"}]'
  cp "$T/$ID/config.json" "$T/original"
  remember_lower
  IDS+=("$ID")
  not bundle_runtime create --bundle "$T/$ID" "$ID" 2>/dev/null
  not bundle_runtime run --bundle "$T/$ID" "$ID" 2>/dev/null
  cmp "$T/original" "$T/$ID/config.json"
  no_branch
  in_branch <<'EOF'
echo kept >README
EOF
  cp "$T/original" "$T/$ID/config.json"
  not bundle_runtime create --bundle "$T/$ID" "$ID" 2>/dev/null
  cmp "$T/original" "$T/$ID/config.json"
  branch_is "$ID" "M README"
}

# bats test_tags=bundle
@test "a signal to a run in the foreground reaches the command, whose status it ends with" {
  local running
  run_in_background /bin/sh -c 'trap "echo x >README; exit 9" TERM; echo up; while :; do sleep 0.1; done'
  signal_run TERM
  status_of_run 9
  nothing_left
  branch_is "$ID" "M README"
}

# bats test_tags=bundle
@test "a run that is killed: delete takes away what it left, and the branch stays" {
  local running
  run_in_background /bin/sh -c 'echo x >README; echo up; exec sleep 60'
  signal_run KILL
  status_of_run 137
  expect_failure "$ID" bundle_runtime create --bundle "$T/$ID" "$ID"
  bundle_remove "$ID"
  nothing_left
  branch_is "$ID" "M README"
}

# bats test_tags=bundle
@test "a run in the foreground that is deleted from elsewhere" {
  local running
  run_in_background /bin/sh -c 'echo x >README; echo up; exec sleep 60'
  bundle_remove "$ID" 2>/dev/null || true # The two deletes may meet.
  status_of_run 137
  nothing_left
  branch_is "$ID" "M README"
}

# bats test_tags=bundle
@test "what a dead agent and a lost container leave is cleaned up by delete, and by the next create" {
  start "$ID" /bin/sleep 60
  eventually grep -qx sleep "/proc/$(pid_of "$ID")/comm" # cowrun-init would end with its agent
  agents | xargs kill -KILL
  eventually no_agents
  expect_failure agent bundle_exec "$ID" /bin/true
  expect_failure "$ID" bundle_runtime create --bundle "$T/$ID" "$ID" # The container lives.
  not bundle_runtime delete "$ID" 2>/dev/null                        # So nothing of it is touched.
  is_running "$ID"
  "$DELEGATE" --root "$COWRUN_TEST_DIR/r" delete --force "$ID"
  bundle_runtime create --bundle "$T/$ID" --pid-file "$T/$ID/pid" "$ID" </dev/null >/dev/null 2>&1
  "$DELEGATE" --root "$COWRUN_TEST_DIR/r" delete --force "$ID"
  bundle_runtime delete --force "$ID"
  nothing_left
}

# bats test_tags=bundle
@test "a lost container's id goes to one without a branch" {
  start "$ID" /bin/sleep 60
  agents | xargs kill -KILL
  eventually no_agents
  "$DELEGATE" --root "$COWRUN_TEST_DIR/r" delete --force "$ID"
  jq '.annotations = {} | del(.hooks) | .process.args = ["/bin/sleep", "60"] | del(.linux.seccomp)
    | .mounts |= map(select(.destination != "/work"))' "$T/$ID/config.json" >"$T/new"
  mv "$T/new" "$T/$ID/config.json"
  bundle_runtime create --bundle "$T/$ID" "$ID" </dev/null >/dev/null 2>&1
  no_state
  bundle_runtime start "$ID"
  bundle_runtime exec "$ID" /bin/true </dev/null
}

# bats test_tags=bundle
@test "of many creates of one id at once, one makes the container" {
  local i made=0 pids=()
  bundle_make "$ID" /bin/sleep 60
  remember_lower
  IDS+=("$ID")
  for i in {1..6}; do cp -r "$T/$ID" "$T/$ID-$i"; done
  for i in {1..6}; do
    bundle_runtime create --bundle "$T/$ID-$i" "$ID" </dev/null >/dev/null 2>&1 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do
    if wait "$i"; then ((++made)); fi
  done
  [[ $made == 1 ]]
  bundle_runtime start "$ID"
  bundle_exec "$ID" /bin/sh -c 'echo x >/work/README'
  bundle_remove "$ID"
  nothing_left
  branch_is "$ID" "M README"
}

# descriptors RUNTIME ARGUMENT...: what of three open files a container's command has.
descriptors() {
  (
    exec 3</etc/passwd 4</etc/group 5</etc/hostname 6<&- 7<&-
    "$1" --root "$COWRUN_TEST_DIR/r" "${@:2}" </dev/null 2>&1
  )
}

# bats test_tags=bundle
@test "inherited descriptors are those that come without cowrun, with and without LISTEN_FDS" {
  local show='for n in 3 4 5 6 7; do [ ! -e /proc/$$/fd/$n ] || readlink /proc/$$/fd/$n; done'
  local number listen want got
  ANNOTATIONS=()
  bundle_make "$ID-plain" /bin/sh -c "$show"
  container_defaults "$ID"
  bundle_make "$ID" /bin/sh -c "$show"
  remember_lower
  IDS+=("$ID")
  for number in 0 1 3; do
    want=$(descriptors "$DELEGATE" run --preserve-fds "$number" --bundle "$T/$ID-plain" "$ID-plain")
    got=$(descriptors "$RUNTIME" run --preserve-fds="$number" --bundle "$T/$ID" "$ID")
    [[ $got == "$want" && $(wc -w <<<"$got") == "$number" ]] || {
      echo "--preserve-fds $number: '$got', not '$want'"
      return 1
    }
  done
  for listen in 1 2; do
    export LISTEN_FDS=$listen
    want=$(descriptors "$DELEGATE" run --preserve-fds 1 --bundle "$T/$ID-plain" "$ID-plain")
    got=$(descriptors "$RUNTIME" run --preserve-fds 1 --bundle "$T/$ID" "$ID")
    [[ $got == "$want" ]] || {
      echo "LISTEN_FDS=$listen: '$got', not '$want'"
      return 1
    }
  done
}

# bats test_tags=bundle
@test "exec with a process.json, which stays as it is" {
  start "$ID" /bin/sleep 60
  jq '.process | .terminal = false | .cwd = "/work" | .args = ["/bin/sh", "-c", "pwd; wc -l <README; echo more >>README"]' \
    "$COWRUN_TEST_DIR/spec/config.json" >"$T/process.json"
  cp "$T/process.json" "$T/process.before"
  [[ $(bundle_runtime exec --process "$T/process.json" "$ID" </dev/null 2>&1) == $'/work\n1' ]]
  cmp "$T/process.json" "$T/process.before"
  echo broken >"$T/process.json"
  expect_failure process.json bundle_runtime exec -p "$T/process.json" "$ID"
  expect_failure none.json bundle_runtime exec -p "$T/none.json" "$ID"
  expect_failure --no-such bundle_runtime exec --no-such "$ID" /bin/true
  [[ ! $(find "$COWRUN_STATE" -name 'exec*') ]]
  remove "$ID"
  branch_is "$ID" "M README"
}
