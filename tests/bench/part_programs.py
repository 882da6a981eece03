"""(b) Programs that people run."""
import os
import shutil
import subprocess

from lowers import copy_sources, make_modules, make_npm, make_repository, make_tar, make_tree, make_wheel
from measure import Group, Step, Target

READ = Target(1.02, kind="read")
WALK = Target(2.0)


def number(name, default):
    return int(os.environ.get(name, default))


def installers(scratch):
    """pip and npm, where the container will find them."""
    steps = []
    if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        make_wheel(scratch.path("inputs/benchpkg-1.0-py3-none-any.whl"), 200)
        steps.append(Step("pip install from a local wheel", "/usr/bin/python3 -m pip install -q --no-index --no-deps --no-compile "
                          "--disable-pip-version-check --no-warn-script-location --root-user-action=ignore "
                          "--target /work/site /bench/benchpkg-1.0-py3-none-any.whl"))
    if shutil.which("npm", path="/usr/local/bin:/usr/bin"):
        make_npm(scratch.path("inputs/benchpkg.tgz"), 200)
        steps.append(Step("npm install from a local package", "cd /work/npm && npm install --silent --offline --no-audit "
                          "--no-fund --no-update-notifier /bench/benchpkg.tgz >/dev/null",
                          before="mkdir -p /work/npm && echo '{}' >/work/npm/package.json"))
    return steps


SQLITE = """
import sqlite3
db = sqlite3.connect("/work/db.sqlite", isolation_level=None)
db.execute("pragma synchronous=off")
db.execute("create table t(a, b)")
for i in range(500):
    db.execute("insert into t values(?, ?)", (i, "x" * 100))
"""


def groups(scratch):
    tree, files = number("TREE_FILES", "2000"), number("TAR_FILES", "10000")

    def make_sources(directory):
        make_repository(scratch.root, os.path.join(directory, "repo"))
        for name in ("make1", "makeN"):
            os.mkdir(os.path.join(directory, name))
            copy_sources(scratch.root, os.path.join(directory, name))
        make_modules(os.path.join(directory, "py"), 100)

    def make_trees(directory):
        for name in ("tree", "gone"):
            make_tree(os.path.join(directory, name), tree)

    make_tar(scratch.path("inputs/files.tar"), files)
    with open(scratch.path("inputs/inserts.py"), "w", encoding="utf-8") as f:
        f.write(SQLITE)
    cpus = os.cpu_count()
    make = "make -s -C /work/{where} {jobs} CFLAGS=-O0 " + os.environ.get("MAKE_TARGET", "build/libcowrun.a")
    sources = scratch.lower("sources", make_sources)
    trees = scratch.lower(f"trees-{tree}", make_trees)
    return [
        Group("programs", sources, [
            Step("git status", "git -C /work/repo status --porcelain", READ, rounds=5, warm=True),
            Step("python imports 100 modules", "cd /work/py && /usr/bin/python3 -c 'import all_of_them'", READ, rounds=5, warm=True),
            Step("git checkout of another commit", "git -C /work/repo checkout -q second"),
            Step("git clone, local", "git clone -q /work/repo /work/clone"),
            Step("make -j1", make.format(where="make1", jobs="-j1"), Target(1.05)),
            Step(f"make -j{cpus}", make.format(where="makeN", jobs=f"-j{cpus}"), Target(1.05)),
            Step("sqlite, 500 inserts", "/usr/bin/python3 /bench/inserts.py")] + installers(scratch)),
        Group("programs", trees, [
            Step("find", "find /work/tree >/dev/null", WALK, rounds=3, warm=True),
            Step("du", "du -s /work/tree >/dev/null", WALK, rounds=3, warm=True),
            Step("grep -r", "grep -r no-such-word /work/tree || true", WALK, rounds=3, warm=True),
            Step("cp -a of a lower tree", "cp -a /work/tree /work/copied"),
            Step("rm -rf of an upper tree", "rm -rf /work/copied", Target(1.3)),
            Step("rm -rf of a lower tree", "rm -rf /work/gone", Target(2.0)),
            Step("chmod -R of a lower tree", "chmod -R g+w /work/tree"),
            Step("find, after that", "find /work/tree >/dev/null", WALK, rounds=2),
            Step("du, after that", "du -s /work/tree >/dev/null", WALK, rounds=2),
            Step(f"tar x of {files} files", "tar xf /bench/files.tar -C /work", Target(1.4)),
            Step(f"rm -rf of these {files} files", "rm -rf /work/files", Target(1.3))]),
    ]
