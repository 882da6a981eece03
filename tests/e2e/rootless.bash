# shellcheck shell=bash
# Rootless podman: a user made for the run, with ids of his own, and everything he is to own.
#
# The tests go on as root and think in the ids that the container has. So what they make for the user lies below
# $COWRUN_TEST_DIR/raw, where the user and his podman have it, and is mounted a second time ("view", at t and share) with
# the owners mapped: what root makes there as 0, 1000 or 1234 belongs on disk to the ids that are these in the container.

ROOTLESS_RAW=$COWRUN_TEST_DIR/raw
ROOTLESS_HOME=$COWRUN_TEST_DIR/h
ROOTLESS_RUN=$COWRUN_TEST_DIR/x

# A name of this run's own.
rootless_name() {
  echo "cowrun$(cksum <<<"$COWRUN_TEST_DIR" | cut -d ' ' -f 1)"
}

# The places are the user's, and no variable says so.
COWRUN_STATE=$ROOTLESS_RUN/cowrun COWRUN_STORE=$ROOTLESS_HOME/.local/share/cowrun
COWRUN_CONFIG=$ROOTLESS_HOME/.config/cowrun/config.json
COWRUN=$COWRUN_TEST_DIR/bin/cowrun
export -n COWRUN_STATE COWRUN_STORE COWRUN_CONFIG COWRUN_RUNTIME

# Called in the directory where it may be: a user cannot be in root's.
as_user() {
  (cd / && exec setpriv --reuid "$(rootless_name)" --regid "$(rootless_name)" --init-groups --reset-env \
    env HOME="$ROOTLESS_HOME" XDG_RUNTIME_DIR="$ROOTLESS_RUN" CONTAINERS_CONF="$COWRUN_TEST_DIR/containers.conf" \
    PATH="$PATH" "$@")
}

# The user's own path of something of the tests' (a volume HOST:CONTAINER as well).
rootless_path() {
  case $1 in
  "$COWRUN_TEST_DIR"/t/* | "$COWRUN_TEST_DIR"/share*) echo "$ROOTLESS_RAW${1#"$COWRUN_TEST_DIR"}" ;;
  *) echo "$1" ;;
  esac
}

with_ids_of() {
  nsenter --user --target "$1" --setuid 0 --setgid 0 bash -c "$(declare -f "$2"); \"\$@\"" - "${@:2}"
}

# First of all: makes the user, and the views that the others fill.
rootless_prepare() {
  local name first count uid idmapped=$COWRUN_TEST_PROGRAMS/idmapped
  name=$(rootless_name)
  useradd --no-create-home --home-dir "$ROOTLESS_HOME" --shell /usr/sbin/nologin "$name"
  echo "$name" >"$COWRUN_TEST_DIR/user"
  uid=$(id -u "$name")
  IFS=: read -r _ first count < <(grep "^$name:" /etc/subuid) || {
    echo "useradd gave $name no ids in /etc/subuid" >&2
    return 1
  }
  chmod 0711 "$COWRUN_TEST_DIR"
  mkdir -p "$COWRUN_TEST_DIR"/{t,share,bin,lower,root,root.upper,root.work,p,pr,pt} "$ROOTLESS_RAW"/{t,share} \
    "$ROOTLESS_HOME" "$ROOTLESS_RUN"
  chmod 0700 "$ROOTLESS_RUN"
  chown -R "$name:" "$COWRUN_TEST_DIR"/{root.upper,root.work,p,pr,pt} "$ROOTLESS_RAW" "$ROOTLESS_HOME" "$ROOTLESS_RUN"
  cp "$COWRUN_TEST_BIN"/* "$COWRUN_TEST_DIR/bin/"
  for view in t share; do
    "$idmapped" "$ROOTLESS_RAW/$view" "$COWRUN_TEST_DIR/$view" "$uid 0 1" "$first 1 $count"
  done
  # The machine's own root, copy-on-write, as if the user had unpacked it.
  "$idmapped" / "$COWRUN_TEST_DIR/lower" "0 $uid 1" "1 $first $count"
  mount -t overlay -o "lowerdir=$COWRUN_TEST_DIR/lower,upperdir=$COWRUN_TEST_DIR/root.upper,workdir=$COWRUN_TEST_DIR/root.work" \
    overlay "$COWRUN_TEST_DIR/root"
}

# What is mounted where only the user's namespaces see it.
rootless_mounts() {
  podman_command unshare cat /proc/self/mountinfo
}
