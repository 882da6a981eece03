# shellcheck shell=bash
# Runs once before and after all the bats files: makes and takes away what every test shares. tests/run sets the variables:
#   COWRUN_TEST_DIR      an empty directory with a short path (sun_path!), removed by tests/run afterwards
#   COWRUN_TEST_BIN      where the programs are (build/bin); COWRUN_TEST_PROGRAMS: those of tests/e2e/programs
#   COWRUN_TEST_ENGINE   podman-runc, podman-rootless, bundle-runc, bundle-crun, bundle-crun-init
#   COWRUN_TEST_PLAIN    not empty: the delegate alone, on a copy of the lower (do the scenarios ask for what Linux does?)

setup_suite() {
  local here
  here=$(dirname "${BASH_SOURCE[0]}")
  # shellcheck source=tests/e2e/engines.bash
  source "$here/engines.bash"
  [[ ! $ROOTLESS ]] || rootless_prepare
  mkdir -p "$COWRUN_TEST_DIR"/{t,share/bin,share/scripts,share/sync}
  cp "$COWRUN_TEST_PROGRAMS"/* "$COWRUN_TEST_DIR/share/bin/"
  cp "$here"/share/* "$COWRUN_TEST_DIR/share/"
  make_tree "$COWRUN_TEST_DIR/tree"
  engine_setup
}

teardown_suite() {
  "$(dirname "${BASH_SOURCE[0]}")/clean" "$COWRUN_TEST_DIR"
}

# The lower that tests start from; each takes a copy. Every kind of entry is in it, and all is of the past, so that a
# changed time shows.
make_tree() {
  local i
  mkdir -p "$1"/{src/deep/er,bin,empty,many,kinds,own}
  (
    cd "$1" || exit 1
    echo "a lower file" >README
    echo "only its owner reads this" >private
    cat >src/main.c <<'EOF'
#include <stdio.h>
#include "util.h"
int main(void)
{
	printf("built from %s\n", util_name());
	return 7;
}
EOF
    echo 'const char *util_name(void);' >src/util.h
    printf '#include "util.h"\nconst char *util_name(void) { return "util.c"; }\n' >src/util.c
    printf 'prog: main.o util.o\n\t$(CC) -o $@ $^\nclean:\n\trm -f prog *.o\n' >src/Makefile
    echo deep >src/deep/er/file
    cp /bin/echo bin/echo
    printf '#!/bin/sh\necho "$0: $*"\n' >bin/script
    for i in {1..20}; do echo "file $i" >"many/$i"; done
    ln -s ../README kinds/link
    ln -s ../src kinds/dirlink
    ln -s nowhere kinds/dangling
    mkfifo kinds/fifo
    mknod kinds/null c 1 3
    echo one >kinds/hard1
    ln kinds/hard1 kinds/hard2
    truncate -s 1M kinds/sparse
    printf end >>kinds/sparse
    echo attributes >kinds/xattr
    setfattr -n user.kept -v value kinds/xattr
    setfacl -m u:1234:rw kinds/xattr
    echo own >own/file
    chmod 0600 private
    chmod 0755 bin/*
    chmod 2775 own
    chown 1000:1000 own own/file
    find . -exec touch -h -d '2020-01-02 03:04:05.678901234' {} +
  )
}
