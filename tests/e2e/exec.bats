# Programs of the branch run, whichever way they are started.
load helpers

@test "gcc, make and the program they made" {
  in_branch <<'EOF'
cd src
make -s prog
status=0
output=$(./prog) || status=$?
is "$status:$output" "7:built from util.c" "./prog"
gcc -o ../a.out main.c util.c
cd ..
output=$(./a.out) || status=$?
is "$status:$output" "7:built from util.c" "./a.out"
sed -i 's/built/made/' src/main.c
make -s -C src prog
is "$(src/prog || true)" "made from util.c" "built again"
EOF
  branch_is "$ID" "A a.out" "M src/main.c" "A src/main.o" "A src/prog" "A src/util.o"
}

@test "a copied program runs" {
  in_branch <<'EOF'
cp /bin/echo m
is "$(./m copied)" copied ./m
cp bin/echo src/deep/n
is "$(/work/src/deep/n deeper)" deeper n
cd src/deep
is "$(./n here)" here ./n
mv n ../../empty/o
is "$(../../empty/o moved)" moved o
EOF
}

@test "a lower program runs in place" {
  in_branch <<'EOF'
is "$(bin/echo lower)" lower bin/echo
is "$(/work/bin/script a b)" "/work/bin/script: a b" bin/script
touch bin/new
is "$(bin/echo split)" split "in a directory that was written to"
is "$(cd bin && ./script c)" "./script: c" "relative"
EOF
  branch_is "$ID" "A bin/new"
}

@test "a script and its \$0, made and lower, in any way it is named" {
  in_branch <<'EOF'
for name in made src/deep/made bin/script; do
  [[ $name == bin/script ]] || { printf '#!/bin/sh\necho "$0: $*"\n' >"$name" && chmod +x "$name"; }
  is "$("./$name" x)" "./$name: x" relative
  is "$("/work/$name" x)" "/work/$name: x" absolute
  is "$(cd / && "work/$name" x)" "work/$name: x" "from elsewhere"
done
is "$(PATH=/work/bin:$PATH script y)" "/work/bin/script: y" "by PATH"
printf '#!/work/bin/echo interpreter\n' >i && chmod +x i
is "$(./i z)" "interpreter ./i z" "an interpreter of the lower"
cp bin/echo interpreter
printf '#!/work/interpreter new\n' >j && chmod +x j
is "$(./j z)" "new ./j z" "an interpreter of the branch"
EOF
}

@test "started by exec, vfork and posix_spawn with a short relative name, by execveat on handles" {
  in_branch <<'EOF'
cp bin/echo e
cp bin/echo src/e
for how in exec vfork spawn empty opath at; do
  is "$(launch $how e "$how")" "$how" "$how in the root"
  is "$(cd src && launch $how e "$how")" "$how" "$how in src"
  is "$(cd bin && launch $how echo "$how")" "$how" "$how of a lower program"
done
rm e bin/echo
for how in exec vfork spawn empty opath at; do
  is "$(launch $how e || true)" "$how e: ENOENT" "$how of what was deleted"
  is "$(cd bin && launch $how echo || true)" "$how echo: ENOENT" "$how of a deleted lower program"
done
chmod -x src/e
is "$(cd src && launch exec e || true)" "exec e: EACCES" "without its execute bits"
EOF
}

@test "/proc/self/exe, getcwd and \$PWD are those of the branch" {
  in_branch <<'EOF'
cp /usr/bin/readlink rl
is "$(./rl /proc/self/exe)" /work/rl "made in the root"
mkdir -p src/deep/new
cp /usr/bin/readlink src/deep/new/rl
is "$(src/deep/new/rl /proc/self/exe)" /work/src/deep/new/rl "made deeper"
cd src/deep/er
is "$(/bin/pwd)" /work/src/deep/er getcwd
is "$(readlink /proc/self/cwd)" /work/src/deep/er /proc/self/cwd
echo x >made-here
is "$(/bin/pwd)" /work/src/deep/er "getcwd after a write"
is "$(cat /work/src/deep/er/made-here)" x "the file is where it says"
mv ../er ../re
is "$(/bin/pwd)" /work/src/deep/re "getcwd after the directory was renamed"
EOF
}

@test "execute bits: given, taken, and asked for by access" {
  in_branch <<'EOF'
says "ermission denied" ./README
chmod +x README
[[ -x README ]] || fail "test -x"
printf '#!/bin/sh\necho yes\n' >README
is "$(./README)" yes "a lower file made executable"
chmod -x bin/script
says "ermission denied" bin/script
install -m 0755 bin/echo src/installed
is "$(src/installed i)" i installed
EOF
}

@test "exit statuses and signals are the command's own" {
  local status
  for want in 0 1 7 126 127; do
    status=0
    run_container "$ID-$want" /bin/sh -c "exit $want" || status=$?
    [[ $status == "$want" ]]
    remove "$ID-$want" >/dev/null
  done
  status=0
  run_container "$ID-signal" /bin/sh -c 'kill -KILL $$; sleep 5' || status=$?
  [[ $status == 137 || $status == 0 ]] # The first process of a pid name space does not die of its own signals.
  remove "$ID-signal" >/dev/null
}

@test "a command that is not there" {
  local status=0
  run_container "$ID" /work/none >"$T/said" 2>&1 || status=$?
  cat "$T/said"
  [[ $status == 127 || $ENGINE == bundle && $status != 0 ]]
  grep -q "no such file\|not found\|No such file" "$T/said"
  remove "$ID" >/dev/null 2>&1 || true
}
