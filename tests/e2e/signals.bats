# A signal that comes while the agent serves a call must not make the call fail or be done twice.
load helpers

storm() {
  mkdir -p "$LOWER/storm/below"
  (cd "$LOWER/storm" && touch {u,r,a}{0..999} && cp ./* below/ 2>/dev/null || true)
  in_branch <<EOF
storm storm 1000 $1 || fail "wrong results in a split directory"
is "\$(ls storm | wc -l)" 4001 "names in storm"
storm storm/below 1000 $1 || fail "wrong results in a directory that is split under the storm"
is "\$(ls storm/below | wc -l)" 4000 "names in storm/below"
EOF
}

@test "1,000 unlinks, renames, appends, creates and mkdirs under a 150 us timer, SA_RESTART" {
  storm restart
}

@test "the same without SA_RESTART: EINTR only for a call that has not begun" {
  storm interrupt
}

@test "a process that waits for the agent can be killed" {
  start "$ID" /bin/sh -c 'while :; do : >>many/1; mv many/2 many/two; mv many/two many/2; done'
  eventually exec_in "$ID" test -e /work/many/1
  kill_container "$ID" KILL
  eventually not is_running "$ID"
  remove "$ID"
}
