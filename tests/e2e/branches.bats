# bats file_tags=cowrun
# cowrun branch: ls, show, diff, commit, discard.
load helpers


# What is below a directory, but for what a commit need not keep (inodes, times of directories).
content_of() {
  (cd "$1" && find . -mindepth 1 \( -type d -printf '%P %y %m %U:%G\n' -o -printf '%P %y %m %U:%G %T@ %l ' \
    \( -type f -exec sha256sum {} \; -o -printf '\n' \) \) | sort)
}

# A branch with changes of all kinds.
changed_branch() {
  in_branch <<'EOF'
echo more >>README
printf '#!/bin/sh\n' >new.sh && chmod 0755 new.sh
mkdir -p made/below && echo x >made/below/file && mkdir made/empty
rm -r many
mkdir many && echo other >many/1
mv src/deep src/shallow
echo changed >src/shallow/er/file
mv src/util.c src/moved.c
rm kinds/fifo kinds/hard1 && mkfifo made/pipe
ln -sf ../private kinds/link
ln new.sh made/hard
chmod 0700 bin && chown 12:34 private && touch -d 2021-02-03 bin/echo
setfattr -n user.new -v 1 kinds/sparse
rmdir empty && echo file >empty
find . -mindepth 1 | sort >/tmp/out && cp /t/lib.sh /tmp/lib
EOF
}

@test "ls and show" {
  in_branch <<'EOF'
echo x >README
EOF
  [[ $(branch ls) == *"$ID"* ]]
  [[ $(branch show "$ID") == *"$(rootless_path "$LOWER")"* ]]
  branch ls --json | jq -e --arg id "$ID" 'any(.. | strings; . == $id)' >/dev/null
  branch show --json "$ID" | jq -e --arg lower "$(rootless_path "$LOWER")" 'any(.. | strings; . == $lower)' >/dev/null
}

# What podman is started with does not reach the runtime: only counts there, which an agent always has; no times.
@test "show --stats: of the agent that runs, and what the last one left" {
  local script='echo more >>README && rm many/1 && mkdir made; cat made/missing; exec sleep 60' times='true'
  export COWRUN_STATS=1
  start "$ID" /bin/sh -c "$script"
  eventually exec_in "$ID" test -d /work/made
  [[ $(branch show --stats "$ID") == *openat* ]]
  [[ $ENGINE == podman ]] || times='.timed and .calls.openat.ns.act > 0 and .calls.openat.ns.answer > 0'
  branch show --json --stats "$ID" | jq -e ".name == \"$ID\" and (.stats | (.trees[0] | .copyUps == 1 and .copiedBytes > 0 and .splits == 1)
    and .trees[0].grafts > .trees[0].splitEntries and .calls.mkdir.continued == 1 and .notifications > 3 and ($times))"
  remove "$ID"
  if [[ $ENGINE == podman ]]; then
    expect_failure COWRUN_STATS branch show --stats "$ID"
  else
    branch show --json --stats "$ID" | jq -e ".stats | .trees[0].copyUps == 1 and .calls.mkdir.continued == 1 and ($times)"
    [[ $(branch show --stats "$ID") == *"ran last"* ]]
  fi
  branch_is "$ID" "M README" "A made" "D many/1"
}

@test "diff --name-status" {
  changed_branch
  branch diff --name-status "$ID" >"$T/diff"
  cat "$T/diff"
  for line in $'M\tREADME' $'A\tnew.sh' $'A\tmade' $'A\tmade/below/file' $'A\tmade/pipe' $'A\tmade/hard' $'M\tmany/1' $'D\tmany/2' \
    $'M\tbin' $'M\tbin/echo' $'M\tprivate' $'M\tkinds/sparse' $'M\tkinds/link' $'D\tkinds/fifo' $'D\tkinds/hard1'; do
    grep -qxF "$line" "$T/diff" || {
      echo "not there: $line"
      return 1
    }
  done
  grep -qx 'R src/util.c -> src/moved.c.*\|R'$'\t''src/util.c -> src/moved.c' "$T/diff"
  not grep -q 'private2\|hard2\|src/main.c' "$T/diff"
  branch diff --json "$ID" | jq -e 'any(.. | strings; . == "README")' >/dev/null
}

@test "diff of an untouched branch is empty" {
  in_branch <<'EOF'
cat README >/dev/null
EOF
  [[ ! $(branch diff --name-status "$ID") ]]
  [[ ! $(branch diff "$ID") ]]
}

@test "diff: the text is a patch that makes the lower what the branch is" {
  in_branch <<'EOF'
sed -i 's/built/made/; 1i // first' src/main.c
printf 'no newline at the end' >>README
echo new >src/new.c
rm src/util.h
mkdir sub && printf 'a\nb\n' >sub/two
EOF
  branch diff "$ID" >"$T/patch"
  cat "$T/patch"
  cp -a "$LOWER" "$T/patched"
  (cd "$T/patched" && git apply -p1 --unsafe-paths "$T/patch" || patch -p1 -s <"$T/patch")
  grep -q made "$T/patched/src/main.c"
  [[ $(<"$T/patched/README") == $'a lower file\nno newline at the end' ]]
  [[ $(<"$T/patched/src/new.c") == new && $(<"$T/patched/sub/two") == $'a\nb' ]]
  [[ ! -e $T/patched/src/util.h ]]
}

# What git knows of a tree.
git_knows_of() {
  (cd "$1" && find . -name .git -prune -o ! -type d -printf '%P %y %l ' \( -type l -o -perm /u+x -printf 'x ' -o -true \) \
    \( -type f -exec sha256sum {} \; -o -printf '\n' \)) | sort
}

@test "diff: a patch of more files than one diff(1) compares at a time, of all kinds, with few descriptors" {
  mkdir "$LOWER/much" "$LOWER/much/a b" "$LOWER/much/"$'new\nline' "$LOWER/much/old"
  for i in {100..219}; do
    for dir in "a b" $'new\nline' old; do
      printf '%s\n' one two "$i" four >"$LOWER/much/$dir/f$i"
    done
  done
  in_branch <<'EOF'
i=0
for f in much/*/f*; do
  case $((i++ % 12)) in
  0) rm "$f" ;;
  1) chmod 0755 "$f" ;;
  2) printf 'no end' >>"$f" ;;
  3) rm "$f" && ln -s "to $f" "$f" ;;
  4) echo new >"$f new" ;;
  5) mv "$f" "$f.moved" ;;
  6) printf '\0' >"$f.bin" ;;
  7) printf -- '-- a\n++ b\ndiff -ru a b\n' >"$f" && chmod 0700 "$f" ;;
  8) mv "$f" "$f.other" && sed -i 's/one/two/' "$f.other" ;;
  *) sed -i 's/two/2/; 1i first' "$f" ;;
  esac
done
mv much/old much/renamed
EOF
  branch diff "$ID" >"$T/patch"
  (ulimit -n 64 && branch diff "$ID" >"$T/patch.64" && branch diff --stat "$ID" >"$T/stat.64")
  cmp "$T/patch" "$T/patch.64"
  branch diff --stat "$ID" | cmp - "$T/stat.64"
  cp -a "$LOWER" "$T/patched"
  (cd "$T/patched" && git init -q . && git apply --exclude='*.bin' "$T/patch")
  branch commit "$ID"
  rm "$T/before" # The lower was changed on purpose.
  find "$LOWER" -name '*.bin' -delete
  diff <(git_knows_of "$LOWER") <(git_knows_of "$T/patched")
}

# committed_is_seen: commits $ID; the lower must then be what a second container shows of the branch.
committed_is_seen() {
  what_is_seen
  lower_untouched
  branch commit "$ID"
  lower_is_what_was_seen
}

what_is_seen() {
  local pid
  container_defaults "$ID"
  start "$ID-look" /bin/sleep 60
  pid=$(pid_of "$ID-look")
  with_ids_of "$pid" content_of "/proc/$pid/root/work" >"$T/want"
  remove "$ID-look"
}

lower_is_what_was_seen() {
  content_of "$LOWER" >"$T/got"
  diff "$T/want" "$T/got"
  [[ ! $(find "$LOWER" -name '.cowrun*') ]]
  rm "$T/before" # The lower was changed on purpose.
}

@test "commit makes the lower what the container saw" {
  changed_branch
  committed_is_seen
  [[ $LOWER/new.sh -ef $LOWER/made/hard ]]
  [[ $(branch ls) != *"$ID"* ]] || [[ ! $(branch diff --name-status "$ID") ]]
}

@test "commit after git, make, tar, cp -a and rm -rf" {
  (
    cd "$LOWER"
    git init -q -b main . && git config user.name Test && git config user.email test@example.org
    git add . && git commit -q -m one
    for i in {1..30}; do echo "$i" >>README && git commit -q -a -m "$i"; done
  )
  in_branch <<'EOF'
git checkout -q -b other HEAD~10
git mv many some && sed -i s/file/FILE/ some/1? && git rm -q -r src/deep && git commit -q -a -m branch
git merge -q -m merge main
git gc -q
make -s -C src prog
tar cf own/src.tar src && rm -rf src && tar xf own/src.tar && mv src/main.c src/c && cp -a src/c src/main.c
cp -a some some2 && rm -rf some && mv some2 some
mv bin empty/ && ln empty/bin/echo echo && mv kinds/xattr README.x && mv -f README.x README
mkdir -p a/b/c && mv private a/b/c/ && mv a own/ && chmod 0500 own/a/b
mv own/a/b x && ln -s x own/a/b && mkdir private
EOF
  committed_is_seen
}

@test "a commit that is killed is repeated" {
  local n status
  changed_branch
  what_is_seen
  for ((n = 1; n < 1000; n += 1 + n / 10)); do
    status=0
    : >"$T/pid"
    # shellcheck disable=SC2016
    as_user sh -c 'echo $$ >&4 && exec "$@" 4>&-' - "$COWRUN" branch commit "$ID" >"$T/said" 2>&1 4>"$T/pid" &
    until [[ -s $T/pid ]]; do :; done
    sleep "$(printf 0.%03d "$n")"
    kill -KILL "$(<"$T/pid")" 2>/dev/null || true
    # Not timeout(1), which kills itself as well: the next one must not find a dying one's lock.
    wait $! || status=$?
    ((status == 137)) || break
  done
  # On a slow disk none of them came through.
  [[ $status != 137 ]] || { status=0 && branch commit "$ID" >"$T/said" 2>&1 || status=$?; }
  echo "the last one after $n ms: $(<"$T/said")"
  # A kill may come when all is done but to remove the branch's files.
  [[ $status == 0 || $n -gt 1 && $(<"$T/said") == *"no branch"* ]]
  lower_is_what_was_seen
}

@test "commit of an untouched branch changes nothing" {
  in_branch <<'EOF'
cat README >/dev/null
EOF
  branch commit "$ID"
  lower_untouched
}

@test "commit refuses when the lower was changed meanwhile: status 3, and nothing is changed" {
  in_branch <<'EOF'
echo branch >>README
echo new >new
EOF
  echo host >>"$LOWER/README"
  "$BATS_TEST_DIRNAME/listing" "$LOWER" >"$T/before"
  local status=0
  branch commit "$ID" >"$T/said" 2>&1 || status=$?
  cat "$T/said"
  [[ $status == 3 ]]
  grep -q README "$T/said"
  lower_untouched
  branch discard "$ID"
}

@test "changes of the host beside those of the branch are no conflict" {
  in_branch <<'EOF'
echo branch >>README
rm many/1
EOF
  echo host >"$LOWER/host-file"
  echo host >>"$LOWER/private"
  branch commit "$ID"
  [[ $(<"$LOWER/host-file") == host && $(tail -n 1 "$LOWER/private") == host ]]
  [[ $(tail -n 1 "$LOWER/README") == branch && ! -e $LOWER/many/1 ]]
  rm "$T/before"
}

@test "discard takes the branch away and leaves the lower" {
  changed_branch
  branch discard "$ID"
  not grep -qw "$ID" <(branch ls)
  expect_failure "$ID" branch show "$ID"
  [[ ! -e $COWRUN_STORE/branches/$ID ]]
}

@test "mistakes: no such branch is 1, wrong usage is 2" {
  local status
  for command in "show none" "diff none" "commit none" "discard none"; do
    status=0
    # shellcheck disable=SC2086
    output=$(branch $command 2>&1) || status=$?
    [[ $status == 1 && $output == *none* ]]
  done
  for command in "" "nonsense" "show" "diff" "diff --nonsense x" "commit" "discard" "show ../x" "show a b"; do
    status=0
    # shellcheck disable=SC2086
    branch $command >/dev/null 2>&1 || status=$?
    [[ $status == 2 || $command == "show ../x" && $status != 0 ]] || {
      echo "branch $command: status $status"
      return 1
    }
  done
}
