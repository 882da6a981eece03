# shellcheck shell=bash
# How a container is run: as an OCI bundle (by the runtime itself) or by podman. Both sides of this file are the same set
# of functions, and the variables of helpers.bash say what the container is to be like.

[[ ${COWRUN_TEST_ENGINE:?} == podman-* ]] && ENGINE=podman || ENGINE=bundle
[[ $COWRUN_TEST_ENGINE == *-rootless ]] && ROOTLESS=1 || ROOTLESS=
case $COWRUN_TEST_ENGINE in
*-runc | podman-rootless) DELEGATE=runc ;;
*-crun | *-crun-*) DELEGATE=crun ;;
esac
DELEGATE=$(command -v "$DELEGATE")
# Both ways to the listener are tested, whichever cowrun would have chosen.
case $COWRUN_TEST_ENGINE in
*-init) export COWRUN_LISTENER=init ;;
bundle-crun) export COWRUN_LISTENER=delegate ;;
esac

export COWRUN_STATE=$COWRUN_TEST_DIR/s COWRUN_STORE=$COWRUN_TEST_DIR/b COWRUN_RUNTIME=$DELEGATE
export COWRUN_CONFIG=$COWRUN_TEST_DIR/config.json
COWRUN=$COWRUN_TEST_BIN/cowrun
# What is tested: podman and the bundles both get this program, which podman starts without any environment.
RUNTIME=$COWRUN_TEST_DIR/cowrun

# as_user COMMAND...: as who has the branches. with_ids_of PID FUNCTION...: seeing owners as that process does.
if [[ $ROOTLESS ]]; then
  # shellcheck source=tests/e2e/rootless.bash
  source "${BASH_SOURCE[0]%/*}/rootless.bash"
else
  as_user() { "$@"; }
  rootless_path() { echo "$1"; }
  with_ids_of() { "${@:2}"; }
fi

CONTAINER_CAPS='["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_FSETID","CAP_KILL","CAP_MKNOD","CAP_NET_BIND_SERVICE","CAP_SETFCAP","CAP_SETGID","CAP_SETPCAP","CAP_SETUID","CAP_SYS_CHROOT"]'
# All that we hold ourselves: a sandboxed machine may lack some.
ALL_CAPS=$(setpriv -d | sed -n 's/^Capability bounding set: //p' | jq -Rc 'split(",") | map("CAP_" + ascii_upcase)')

engine_setup() {
  if [[ ${COWRUN_TEST_PLAIN-} ]]; then
    ln -sf "$DELEGATE" "$RUNTIME"
  else
    {
      echo '#!/bin/sh'
      echo "export COWRUN_RUNTIME=$COWRUN_RUNTIME"
      [[ $ROOTLESS ]] || declare -p COWRUN_STATE COWRUN_STORE COWRUN_CONFIG | sed 's/^declare -x/export/'
      # A test may want it otherwise.
      [[ ! ${COWRUN_LISTENER-} ]] || echo "export COWRUN_LISTENER=\${TEST_LISTENER:-$COWRUN_LISTENER}"
      echo "exec '$COWRUN' \"\$@\""
    } >"$RUNTIME"
    chmod +x "$RUNTIME"
  fi
  "${ENGINE}_setup"
}

# --- bundles ---------------------------------------------------------------------------------------------------------

# The root of every bundle is the machine's own, copy-on-write: compilers and all, and no image is needed.
bundle_setup() {
  mkdir -p "$COWRUN_TEST_DIR"/{root,root.upper,root.work,spec}
  mount -t overlay -o "lowerdir=/,upperdir=$COWRUN_TEST_DIR/root.upper,workdir=$COWRUN_TEST_DIR/root.work" \
    overlay "$COWRUN_TEST_DIR/root"
  (cd "$COWRUN_TEST_DIR/spec" && runc spec)
}

bundle_runtime() {
  (exec 3<"${INHERITED_DIR:-/dev/null}" && exec "$RUNTIME" --root "$COWRUN_TEST_DIR/r" "$@")
}

# bundle_make ID COMMAND...: makes $T/ID/config.json.
bundle_make() {
  local id=$1 caps=$CONTAINER_CAPS annotations mounts ids
  shift
  [[ ! $ALL_CAPABILITIES ]] || caps=$ALL_CAPS
  annotations=$(printf '%s\n' ${ANNOTATIONS[@]+"${ANNOTATIONS[@]}"} |
    jq -Rn '[inputs | select(. != "") | capture("^(?<key>[^=]*)=(?<value>.*)$"; "m")] | from_entries')
  mounts=$(printf '%s\n' "${VOLUMES[@]}" | jq -Rn '[inputs | split(":") | {type: "bind", source: .[0], destination: .[1],
    options: (["rbind"] + if .[2] == "ro" then ["ro"] else ["rw"] end)}]')
  ids=$(jq -Rn '[inputs | split(":") | map(tonumber) | {containerID: .[0], hostID: .[1], size: .[2]}]' <<<"${ID_MAP:-0:0:0}")
  mkdir -p "$T/$id"
  jq --argjson ids "$ids" --argjson annotations "$annotations" --argjson mounts "$mounts" --argjson caps "$caps" --arg cwd "$START_DIR" \
    --arg root "$COWRUN_TEST_DIR/root" --arg cgroup "/cowrun-test/${COWRUN_TEST_DIR##*/}-$id" \
    --arg uid "${USER_IDS%:*}" --arg gid "${USER_IDS#*:}" '
      .root = {path: $root, readonly: false} | .annotations = $annotations | .mounts += $mounts | .hostname = "e2e"
      | .process.terminal = false | .process.cwd = $cwd | .process.args = $ARGS.positional | .process.noNewPrivileges = false
      | .process.user = {uid: ($uid | tonumber), gid: ($gid | tonumber)} | .linux.cgroupsPath = $cgroup
      | .process.capabilities = {bounding: $caps, permitted: $caps, effective: $caps}
      | .linux.namespaces |= map(select(.type != "network"))
      | (if $ids[0].size > 0 then .linux += {uidMappings: $ids, gidMappings: $ids} | .linux.namespaces += [{type: "user"}]
        else . end) | del(.process.rlimits)
      | (.mounts[] | select(.destination == "/sys")) |= {destination: "/sys", type: "none", source: "/sys", options: ["rbind", "ro"]}
      | .mounts |= map(select(.destination != "/sys/fs/cgroup"))' \
    --args -- "$@" <"$COWRUN_TEST_DIR/spec/config.json" >"$T/$id/config.json"
}

bundle_run() {
  local id=$1
  bundle_make "$@"
  bundle_runtime run ${PRESERVE_FDS:+--preserve-fds "$PRESERVE_FDS"} --bundle "$T/$id" "$id" </dev/null 2>&1
}

bundle_start() {
  local id=$1
  bundle_make "$@"
  bundle_runtime create --bundle "$T/$id" --pid-file "$T/$id/pid" "$id" </dev/null >"$T/$id/output" 2>&1 || {
    cat "$T/$id/output"
    return 1
  }
  bundle_runtime start "$id"
}

bundle_restart() {
  bundle_remove "$1"
  bundle_runtime create --bundle "$T/$1" --pid-file "$T/$1/pid" "$1" </dev/null >>"$T/$1/output" 2>&1 || return
  bundle_runtime start "$1"
}

bundle_exec() {
  local id=$1
  shift
  bundle_runtime exec --cwd "$START_DIR" --user "$USER_IDS" "$id" "$@" </dev/null 2>&1
}

bundle_output() {
  cat "$T/$1/output"
}

bundle_pid() {
  cat "$T/$1/pid"
}

bundle_running() {
  [[ $(bundle_runtime state "$1" 2>/dev/null | jq -r .status) == running ]]
}

bundle_kill() {
  bundle_runtime kill "$1" "$2"
}

bundle_remove() {
  bundle_runtime delete --force "$1"
}

# --- podman ----------------------------------------------------------------------------------------------------------

[[ $ROOTLESS ]] && PODMAN_ROOTFS=$COWRUN_TEST_DIR/root:O || PODMAN_ROOTFS=/:O

podman_setup() {
  export CONTAINERS_CONF=$COWRUN_TEST_DIR/containers.conf
  # nofile, nproc: a machine in a sandbox may not raise its limits, and podman would.
  cat >"$CONTAINERS_CONF" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "cowrun"
[engine.runtimes]
cowrun = ["$RUNTIME"]
EOF
}

podman_command() {
  (exec 3<"${INHERITED_DIR:-/dev/null}" && as_user podman --root "$COWRUN_TEST_DIR/p" --runroot "$COWRUN_TEST_DIR/pr" \
    --tmpdir "$COWRUN_TEST_DIR/pt" --storage-driver vfs "$@")
}

# podman_container VERB... -- ID COMMAND...
podman_container() {
  local verb=() option=() value
  while [[ $1 != -- ]]; do
    verb+=("$1")
    shift
  done
  for value in "${ANNOTATIONS[@]}"; do option+=(--annotation "$value"); done
  for value in "${VOLUMES[@]}"; do option+=(--volume "$(rootless_path "$value")"); done
  for value in $ID_MAP; do
    [[ $value == keep-id ]] && option+=(--userns keep-id) || option+=(--uidmap "$value" --gidmap "$value")
  done
  [[ ! $ALL_CAPABILITIES ]] || option+=(--cap-add all --security-opt seccomp=unconfined)
  podman_command "${verb[@]}" --name "$2" --hostname e2e --workdir "$START_DIR" --user "$USER_IDS" "${option[@]}" \
    ${PRESERVE_FDS:+--preserve-fds "$PRESERVE_FDS"} --rootfs "$PODMAN_ROOTFS" "${@:3}" </dev/null 2>&1
}

podman_run() {
  podman_container run -- "$@"
}

podman_start() {
  podman_container run -d -- "$@" >"$T/$1.id" || {
    cat "$T/$1.id"
    return 1
  }
}

podman_restart() {
  podman_command restart -t 1 "$1"
}

podman_exec() {
  local id=$1
  shift
  podman_command exec --workdir "$START_DIR" --user "$USER_IDS" "$id" "$@" </dev/null 2>&1
}

podman_output() {
  podman_command logs "$1" 2>&1
}

podman_pid() {
  podman_command inspect --format '{{.State.Pid}}' "$1"
}

podman_running() {
  [[ $(podman_command inspect --format '{{.State.Running}}' "$1") == true ]]
}

podman_kill() {
  podman_command kill --signal "$2" "$1"
}

podman_remove() {
  podman_command rm -f -t 0 "$1"
}
