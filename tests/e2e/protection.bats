# Nothing that the container does changes the lower (teardown compares it after every test of every file).
load helpers

# A lower with all kinds of entries for each of the calls that could change something.
lower_for_mutations() {
  local name
  while read -r name; do
    mkdir -p "$LOWER/m/$name/"{dir,full}
    cp -a "$LOWER/kinds/"{fifo,null,xattr,link} "$LOWER/m/$name/"
    echo file >"$LOWER/m/$name/file"
    echo inner >"$LOWER/m/$name/full/inner"
    setfattr -n user.kept -v value "$LOWER/m/$name/full" "$LOWER/m/$name/file"
    ln "$LOWER/m/$name/file" "$LOWER/m/$name/hard"
    cp -p "$LOWER/bin/script" "$LOWER/m/$name/"
  done < <("$SHARE/bin/mutate" --names)
}

# Most must have worked in the branch, or the test would prove nothing.
worked() {
  local count
  count=$(grep -c ' ok$' "$T/mutations") || true
  ((count >= $1)) || {
    echo "only $count mutations worked, want $1:"
    grep -v ' ok$' "$T/mutations" | head -n 300
    return 1
  }
}

@test "every call that changes something, on every kind of lower entry" {
  lower_for_mutations
  run_container "$ID" /t/bin/mutate /work/m >"$T/mutations"
  worked 350
  remove "$ID"
}

# bats test_tags=cowrun
@test "each of these calls gives what it gives in a plain directory" {
  local hidden='^user-namespace ' # a mount in it, which Landlock forbids
  lower_for_mutations
  cp -a "$LOWER" "$T/copy"
  run_container "$ID" /t/bin/mutate /work/m >"$T/mutations"
  remove "$ID"
  ANNOTATIONS=()
  VOLUMES=("$T/copy:/work" "$SHARE:/t:ro")
  run_container "$ID-plain" /t/bin/mutate /work/m >"$T/plain"
  remove "$ID-plain"
  # README: what the delegate's listener does not trap.
  [[ $COWRUN_TEST_ENGINE != bundle-crun ]] || hidden='^(user-namespace|setxattrat|removexattrat|file-setattr) '
  # Nobody in a user namespace can make a device node, so none is copied up there.
  [[ ! $ROOTLESS ]] || hidden+='|/null '
  diff <(grep -vE "$hidden" "$T/plain") <(grep -vE "$hidden" "$T/mutations")
}

# bats test_tags=cowrun
@test "the same with every capability" {
  lower_for_mutations
  ALL_CAPABILITIES=1
  # Alone, a container with every capability changes what is below it: podman has to be told, and we must hold it.
  run_container "$ID" /t/bin/mutate /work/m >"$T/mutations"
  worked 350
  remove "$ID"
}

@test "the same as an ordinary user" {
  lower_for_mutations
  USER_IDS=1000:1000
  run_container "$ID" /t/bin/mutate /work/m >"$T/mutations"
  not worked 150 >/dev/null
  remove "$ID"
}

# bats test_tags=cowrun
@test "io_uring is not there" {
  run_container "$ID" /t/bin/uring >"$T/said"
  [[ $(<"$T/said") == ENOSYS ]]
  remove "$ID"
}

# bats test_tags=cowrun
@test "after the agent is killed every change fails, reading goes on, and the branch can be looked at" {
  lower_for_mutations
  start "$ID" /bin/sleep 300
  bash_in "$ID" <<'EOF'
for dir in /work/m/*a*/ /work/m/chmod/; do echo before >"$dir/file"; echo before >"$dir/made"; done
sleep 300 </dev/null >/dev/null 2>&1 &
EOF
  # A process that is there already: exec could not bring one in without an agent.
  shell_script "$ID-dead" <<'EOF'
echo >/work/waiting
wait_for /t/sync/dead
cat /work/README /work/m/chmod/file /work/m/mkdir/full/inner
mutate /work/m
EOF
  exec_in "$ID" /bin/bash -eu "/t/scripts/$ID-dead" >"$T/mutations" &
  local waiting=$!
  eventually exec_in "$ID" /bin/test -e /work/waiting
  agents | xargs kill -KILL
  eventually no_agents
  touch "$SHARE/sync/dead"
  wait "$waiting" || true
  rm "$SHARE/sync/dead"
  tail -n 3 "$T/mutations"
  [[ $(head -n 3 "$T/mutations") == $'a lower file\nbefore\ninner' ]]
  [[ $(tail -n 1 "$T/mutations") == scenario-finished ]]
  # Not trapped: what the delegate's libseccomp cannot name yet. What is the branch's own changes by them as anywhere; the
  # lower has its read-only mounts.
  not grep ' ok$' <(grep -vE '^(setxattrat|removexattrat|file-setattr) ' "$T/mutations")
  kill_container "$ID" KILL
  remove "$ID"
  branch diff --name-status "$ID" | grep -qx $'M\tm/chmod/file'
  branch discard "$ID"
}

# bats test_tags=cowrun
@test "an agent that is killed while many processes write" {
  start "$ID" /bin/bash -c 'for i in {1..8}; do (while :; do echo $i >>many/$i; mv many/1$i many/x$i; mv many/x$i many/1$i; done) 2>/dev/null & done; wait'
  sleep 0.5
  agents | xargs kill -KILL
  eventually no_agents
  sleep 0.2
  kill_container "$ID" KILL
  remove "$ID"
  branch diff --name-status "$ID" >"$T/diff"
  branch diff "$ID" >/dev/null
  branch discard "$ID"
}

# bats test_tags=cowrun
@test "a handle on a host directory that leaks into the container is useless" {
  mkdir "$T/host"
  echo secret >"$T/host/file"
  PRESERVE_FDS=1
  INHERITED_DIR=$T/host
  # To see that it does come in: under the delegate alone it is of use.
  ANNOTATIONS=()
  run_container "$ID-plain" /t/bin/leak 3 file | grep -qx 'read ok'
  remove "$ID-plain" >/dev/null
  "$BATS_TEST_DIRNAME/listing" "$T/host" >"$T/host.before"
  container_defaults "$ID"
  run_container "$ID" /t/bin/leak 3 file >"$T/said"
  cat "$T/said"
  remove "$ID"
  diff "$T/host.before" <("$BATS_TEST_DIRNAME/listing" "$T/host")
  [[ ! -s $T/said ]]
}

# bats test_tags=cowrun
@test "a handle on the lower itself that leaks into the container changes nothing" {
  PRESERVE_FDS=1
  INHERITED_DIR=$LOWER
  run_container "$ID" /t/bin/leak 3 README >"$T/said"
  cat "$T/said"
  remove "$ID"
  [[ ! -s $T/said ]]
}

@test "Landlock: programs of the branch, of the lower and of the image run" {
  in_branch <<'EOF'
cp /bin/echo new
is "$(./new branch) $(bin/echo lower) $(/bin/echo image)" "branch lower image" programs
echo x >/tmp/outside
is "$(cat /tmp/outside)" x "the rest of the container is writable as it was"
EOF
}

@test "run.cowrun.landlock=off" {
  ANNOTATIONS+=("run.cowrun.landlock=off")
  in_branch <<'EOF'
cp /bin/echo new
is "$(./new branch)" branch "a program of the branch"
rm README
EOF
  branch_is "$ID" "D README" "A new"
}

# bats test_tags=cowrun
@test "the container cannot reach the agent, its sockets or the branch's other directories" {
  in_branch <<EOF
[[ ! -S $COWRUN_STATE/*/control.sock ]] || fail "the control socket"
for fd in /proc/self/fd/*; do
  case \$(readlink "\$fd" || true) in
  *socket:*|*seccomp*|*$COWRUN_STORE*|*$COWRUN_STATE*) fail "descriptor \$fd: \$(readlink "\$fd")" ;;
  esac
done
[[ ! \$(env | grep -i cowrun) ]] || fail "environment: \$(env | grep -i cowrun)"
EOF
}
