# shellcheck shell=bash
# What the scenarios' shell scripts use inside the container. They run with bash -eu, in the workdir.
PATH=/t/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH HOME=/root LC_ALL=C

fail() {
  echo "FAIL: $*"
  exit 1
}

# is GOT WANT WHAT
is() {
  [[ $1 == "$2" ]] || fail "${3-}: got '$1', want '$2'"
}

# says TEXT COMMAND...: the command fails and its message holds TEXT.
says() {
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then
    fail "$* works: $output"
  fi
  [[ $output == *"$text"* ]] || fail "$* says '$output', want '$text'"
}

# Waits until a file exists: the other side is so far.
wait_for() {
  local i
  for ((i = 0; i < 400; i++)); do
    [[ -e $1 ]] && return
    sleep 0.05
  done
  fail "$1 never came"
}
