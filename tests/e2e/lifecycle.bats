# Containers that live together, are entered, stopped, killed, removed and started again.
load helpers

# bats test_tags=cowrun
@test "several containers on one lower, each with a branch of its own" {
  local id
  for id in "$ID-a" "$ID-b" "$ID-c"; do
    container_defaults "$id"
    start "$id" /bin/sh -c "echo $id >>README; rm many/1; echo $id >only-$id; exec sleep 60"
  done
  for id in "$ID-a" "$ID-b" "$ID-c"; do
    eventually exec_in "$id" test -e "/work/only-$id"
    [[ $(exec_in "$id" cat /work/README) == $'a lower file\n'"$id" ]]
    [[ $(exec_in "$id" sh -c 'echo only-*') == "only-$id" ]]
  done
  lower_untouched
  for id in "$ID-a" "$ID-b" "$ID-c"; do
    remove "$id"
    branch_is "$id" "M README" "D many/1" "A only-$id"
  done
}

@test "exec: the processes are in the branch, and protected as the first one is" {
  start "$ID" /bin/sleep 60
  bash_in "$ID" <<'EOF'
echo by-exec >>README
cp /bin/echo src/e
is "$(src/e runs)" runs "a program of the branch"
rm -r many
EOF
  bash_in "$ID" <<'EOF'
is "$(tail -n 1 README)" by-exec "what another exec wrote"
[[ ! -e many ]] || fail "what another exec deleted"
EOF
  local status=0
  exec_in "$ID" /bin/sh -c 'exit 23' || status=$?
  [[ $status == 23 ]]
  remove "$ID"
  [[ ${COWRUN_TEST_PLAIN-} ]] || [[ $(branch diff --name-status "$ID") == $'M\tREADME'*$'A\tsrc/e' ]]
}

@test "exec with a working directory inside the lower, and with none that exists" {
  START_DIR=/work/src/deep
  start "$ID" /bin/sh -c 'echo first >started; exec sleep 60'
  eventually exec_in "$ID" test -e started
  [[ $(exec_in "$ID" /bin/pwd) == /work/src/deep ]]
  exec_in "$ID" /bin/sh -c 'echo x >here'
  [[ $(exec_in "$ID" cat /work/src/deep/here) == x ]]
  START_DIR=/work/none
  not exec_in "$ID" /bin/true
  remove "$ID"
  branch_is "$ID" "A src/deep/here" "A src/deep/started"
}

@test "many execs at once" {
  start "$ID" /bin/sleep 60
  local i pids=()
  for i in {1..8}; do
    exec_in "$ID" /bin/sh -c "for n in 1 2 3 4 5; do echo $i-\$n >>many/$i; echo $i-\$n >>README; done" 3>&- &
    pids+=($!)
  done
  for i in "${pids[@]}"; do wait "$i"; done
  [[ $(exec_in "$ID" /bin/sh -c 'wc -l <README') == 41 ]]
  [[ $(exec_in "$ID" /bin/sh -c 'cat many/3 | wc -l') == 6 ]]
  remove "$ID"
}

@test "killed, and what was written is in the branch" {
  start "$ID" /bin/sh -c 'echo written >README; exec sleep 60'
  eventually exec_in "$ID" grep -q written /work/README
  kill_container "$ID" KILL
  eventually not is_running "$ID"
  remove "$ID"
  branch_is "$ID" "M README"
}

@test "started again under the same name, the container goes on in its branch" {
  start "$ID" /bin/sh -c 'echo start >>README; mv many few 2>/dev/null; exec sleep 60'
  eventually exec_in "$ID" test -d /work/few
  kill_container "$ID" KILL
  eventually not is_running "$ID"
  restart "$ID"
  eventually exec_in "$ID" test -d /work/few
  eventually exec_in "$ID" sh -c '[ "$(grep -c start /work/README)" = 2 ]'
  [[ $(exec_in "$ID" cat /work/few/7) == "file 7" ]]
  remove "$ID"
  branch_is "$ID" "M README" "R many -> few"
}

# bats test_tags=cowrun
@test "another container goes on in a branch by its name" {
  in_branch "$ID" <<'EOF'
echo one >>README
mkdir made
rm -r many/1 src/deep
EOF
  IDS+=("$ID-second")
  in_branch "$ID-second" <<'EOF'
is "$(cat README)" $'a lower file\none' "the first one's change"
[[ -d made && ! -e many/1 && ! -e src/deep ]] || fail "the first one's directory and deletions"
is "$(cat many/2 src/util.h)" $'file 2\nconst char *util_name(void);' "untouched files"
echo two >>README
rmdir made
mkdir src/deep
EOF
  branch_is "$ID" "M README" "D many/1" "D src/deep/er" "D src/deep/er/file" ||
    branch_is "$ID" "M README" "D many/1" "M src/deep" "D src/deep/er" "D src/deep/er/file"
}

# bats test_tags=cowrun
@test "a branch that a container uses is refused to another one, to commit and to discard" {
  start "$ID" /bin/sh -c 'echo x >README; exec sleep 60'
  eventually exec_in "$ID" grep -q x /work/README
  expect_failure "in use" run_container "$ID-second" /bin/true
  remove "$ID-second" >/dev/null 2>&1 || true
  expect_failure "in use" branch commit "$ID"
  expect_failure "in use" branch discard "$ID"
  [[ $(exec_in "$ID" cat /work/README) == x ]]
  branch_is "$ID" "M README"
  remove "$ID"
  branch discard "$ID"
}

@test "without a workdir annotation the container is the delegate's own" {
  ANNOTATIONS=()
  VOLUMES=("$T/other:/work" "$SHARE:/t:ro")
  mkdir "$T/other"
  in_branch <<'EOF'
echo direct >file
is "$(grep -c cowrun /proc/self/mountinfo || true)" 0 "mounts"
EOF
  [[ $(<"$T/other/file") == direct ]]
}

@test "podman stop, start, rm, and ps" {
  [[ $ENGINE == podman ]] || return 0
  start "$ID" /bin/sh -c 'trap "exit 3" TERM; echo x >>README; while :; do sleep 0.1; done'
  eventually exec_in "$ID" grep -q x /work/README
  podman_command stop -t 5 "$ID"
  [[ $(podman_command inspect --format '{{.State.ExitCode}}' "$ID") == 3 ]]
  eventually no_agents
  podman_command start "$ID"
  eventually exec_in "$ID" sh -c '[ "$(grep -c x /work/README)" = 2 ]'
  [[ $(podman_command ps --format '{{.Names}}') == *"$ID"* ]]
  podman_command rm -f -t 0 "$ID"
  branch_is "$ID" "M README"
}

# bats test_tags=cowrun
@test "the default name of a branch is the container's id" {
  ANNOTATIONS=("run.cowrun.workdir=/work")
  start "$ID" /bin/sh -c 'echo x >README; exec sleep 60'
  local id=$ID
  [[ $ENGINE != podman ]] || id=$(podman_command inspect --format '{{.ID}}' "$ID")
  eventually exec_in "$ID" grep -q x /work/README
  remove "$ID"
  branch_is "$id" "M README"
}
