"""(e) What becomes of a branch: diff and commit of many changes. The limit: diff(1) with a copy, and `cp -a` of as much."""
import os
import shutil
import time

from engines import Cowrun, Session, run
from lowers import make_flat
from measure import Line

A_DIRECTORY = 1000


def make_lower(scratch, changes):
    """Files to be changed: half as many as there are to be changes, a thousand a directory."""
    def make(directory):
        for first in range(0, changes // 2, A_DIRECTORY):
            make_flat(os.path.join(directory, f"old{first}"), min(A_DIRECTORY, changes // 2 - first), 1000)

    return scratch.lower(f"branch-{changes}", make)


def change(session, changes):
    """Half of them new files, half of them changed ones."""
    for first in range(0, changes // 2, A_DIRECTORY):
        count = min(A_DIRECTORY, changes // 2 - first)
        session.do(f"mkdir /work/new{first} && /bench/calls create /work/new{first} {count}")
        session.do(f"/bench/calls append /work/old{first} {count}")


def timed(*command, allow=(0,)):
    begun = time.monotonic_ns()
    # diff's status is 1 where there are differences
    run("sh", "-c", '"$@" >/dev/null; s=$?; case " $0 " in *" $s "*) exit 0 ;; esac; exit $s', " ".join(map(str, allow)), *command)
    return time.monotonic_ns() - begun


def by_limit(scratch, engine, lower, changes, lines):
    session = Session(scratch, engine, lower)
    try:
        change(session, changes)
        copy = engine.held[session.name]
        lines[0].add("plain", timed("diff", "-rq", lower, copy, allow=(0, 1)))
        lines[1].add("plain", timed("diff", "-ruN", lower, copy, allow=(0, 1)))
        again = scratch.path("work", "again")
        lines[2].add("plain", timed("cp", "-a", copy, again))
        shutil.rmtree(again)
    finally:
        session.close()


def by_cowrun(scratch, engine, pristine, changes, lines):
    """The commit changes the lower, so each has one of its own."""
    name, lower = scratch.fresh("lower")
    run("cp", "-a", pristine + "/.", lower)
    session = Session(scratch, engine, lower)
    session_branch = session.name
    try:
        change(session, changes)
        session.stop()
        os.sync()
        branch = [engine.runtime, "branch"]
        lines[0].add(engine.title, timed(*branch, "diff", "--name-status", session_branch))
        lines[1].add(engine.title, timed(*branch, "diff", session_branch))
        lines[2].add(engine.title, timed(*branch, "commit", session_branch))
    finally:
        session.close()
        shutil.rmtree(lower)


def measure(scratch, engines, repetitions, lines):
    """CHANGES: how many."""
    for changes in map(int, os.environ.get("CHANGES", "10 1000 20000").split()):
        three = [Line("branch", f"{changes} changes: {what}", None) for what in
                 ("diff --name-status (limit: diff -rq)", "diff (limit: diff -ruN)", "commit (limit: cp -a)")]
        lines += three
        lower = make_lower(scratch, changes)
        for _ in range(repetitions if changes <= 1000 else 1):
            for engine in engines:
                if engine.title == "plain":
                    by_limit(scratch, engine, lower, changes, three)
                elif isinstance(engine, Cowrun):
                    by_cowrun(scratch, engine, lower, changes, three)
