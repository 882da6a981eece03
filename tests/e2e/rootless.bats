# bats file_tags=rootless,cowrun
# An ordinary user with his own podman: places, owners, and what he does with his branches outside of its namespaces.
load helpers

@test "rootless: state and branches are in the user's places" {
  start "$ID" /bin/sh -c 'echo x >new; exec sleep 60'
  eventually exec_in "$ID" test -s /work/new
  [[ -S $(echo "$COWRUN_STATE"/*/control.sock) ]]
  [[ -f $COWRUN_STORE/branches/$ID/branch.json ]]
  [[ $(stat -c '%U %a' "$COWRUN_STATE" "$COWRUN_STORE" | sort -u) == "$(rootless_name) 700" ]]
  remove "$ID"
  branch_is "$ID" "A new"
  as_user "$COWRUN" branch discard "$ID"
  [[ ! -e $COWRUN_STORE/branches/$ID ]]
}

private_branch() {
  in_branch <<'EOF'
echo secret >new && chown 1000:1000 new && chmod 0600 new
mkdir dir && echo x >dir/file && chown -R 1234:1234 dir && chmod 0 dir
echo more >>own/file && chmod 0400 own/file
EOF
}

@test "rootless: diff, commit and discard of what belongs to other ids than the user's own" {
  private_branch
  branch_is "$ID" "A dir" "A dir/file" "A new" "M own/file"
  [[ $(branch diff "$ID") == *"+secret"* ]]
  branch commit "$ID"
  [[ $(stat -c %u:%a "$LOWER/new" "$LOWER/dir" "$LOWER/own/file") == 1000:600$'\n'1234:0$'\n'1000:400 ]]
  [[ $(<"$LOWER/new") == secret ]]
  rm "$T/before" # The lower was changed on purpose.
}

@test "rootless: without newuidmap what is out of reach is said to be so, and why" {
  private_branch
  expect_failure "newuidmap" as_user env PATH=/nowhere "$COWRUN" branch diff "$ID"
  [[ $(wc -l <<<"$output") == 1 ]]
  [[ $(branch diff "$ID") == *"+secret"* ]]
}

@test "rootless: keep-id, and the user as himself in the container" {
  local gone
  ID_MAP=keep-id
  USER_IDS=$(id -u "$(rootless_name)"):$(id -g "$(rootless_name)")
  in_branch <<'EOF'
echo x >>README && mkdir new && mv src new/ && rm -r many && touch new/file
is "$(stat -c %u new/file README new/src | sort -u)" "$(id -u)" "the owner"
says "Permission denied" touch own/file
EOF
  mapfile -t gone < <(printf 'D many/%s\n' {1..20} | sort)
  branch_is "$ID" "M README" "D many" "${gone[@]}" "A new" "A new/file" "R src -> new/src"
}

@test "rootless: a bundle, in a user namespace that is made for it" {
  remember_lower
  mkdir -p "$T"/bundle/rootfs/{bin,proc,dev,sys,tmp,run,work}
  cp /bin/busybox "$T/bundle/rootfs/bin/sh"
  (cd "$T/bundle" && runc spec --rootless)
  jq --arg lower "$(rootless_path "$LOWER")" --arg name "$ID" '.process.terminal = false | .process.cwd = "/work"
    | .process.args = ["/bin/sh", "-c", "echo x >src/new && echo y >>README"] | .mounts |= map(select(.destination != "/sys/fs/cgroup"))
    | .annotations = {"run.cowrun.workdir": "/work", "run.cowrun.branch": $name} | del(.process.rlimits)
    | .mounts += [{type: "bind", source: $lower, destination: "/work", options: ["rbind", "rw"]}]
    | .linux.namespaces |= map(select(.type != "network" and .type != "user"))
    | del(.linux.uidMappings, .linux.gidMappings)' "$T/bundle/config.json" >"$T/config.json"
  mv "$T/config.json" "$T/bundle/config.json"
  expect_success as_user env COWRUN_RUNTIME="$DELEGATE" unshare --user --map-root-user --mount \
    "$COWRUN" --root "$ROOTLESS_RUN/r" run --bundle "$(rootless_path "$T/bundle")" "$ID"
  branch_is "$ID" "M README" "A src/new"
  expect_failure "user namespace" as_user env COWRUN_RUNTIME="$DELEGATE" \
    "$COWRUN" --root "$ROOTLESS_RUN/r" run --bundle "$(rootless_path "$T/bundle")" "$ID"
}

@test "rootless: known limit: an entry of an owner who has no id here is nobody's once it is split or copied up" {
  chmod 0666 "$LOWER/many/1"
  chown 70000:70000 "$(rootless_path "$LOWER")"/{own,many/1}
  python_in_branch <<'EOF'
same([os.stat(path).st_uid for path in ("own", "many/1")], [65534, 65534], "as it looks")
write("many/1", "+", os.O_WRONLY | os.O_APPEND)
os.chown("many/1", 0, 0)
same(os.stat("many/1").st_uid, 0, "the copy is one that can be given away")
EOF
}

@test "rootless: known limit: readdir tells a FIFO of a split directory from a file only by its inode" {
  python_in_branch <<'EOF'
import stat

def says():
    return {entry.name: entry.is_file(follow_symlinks=False) for entry in os.scandir("kinds")}["fifo"]

same(says(), False, "untouched")
write("kinds/new", "")
same(says(), True, "in a directory that was split")
check(stat.S_ISFIFO(os.lstat("kinds/fifo").st_mode), "it is one")
EOF
}

@test "rootless: known limit: with few descriptors to spare, what was open before is found by its name only" {
  local pid
  start "$ID" /bin/sh -c 'exec sleep 60'
  pid=$(agents)
  podman_command unshare prlimit --pid "$pid" --nofile=300:300
  shell_script "$ID-exec" <<'EOF'
cd many
chmod 0600 {3..20}
cd ..
exec 4<many/1 5<many/2
chmod 0600 many/1 many/2 && mv many/2 many/moved
chmod 0640 /proc/self/fd/4 && is "$(stat -c %a many/1)" 640 "by its name"
chmod 0640 /proc/self/fd/5 && is "$(stat -c %a many/moved)" 600 "not by another"
EOF
  expect_success exec_in "$ID" /bin/bash -eu "/t/scripts/$ID-exec"
  ran_to_its_end
}
