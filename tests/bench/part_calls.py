"""(a) Single calls, by programs/calls.c."""
import os
import shutil

from lowers import make_flat, make_large
from measure import Group, Step, Target

READ = Target(1.02, kind="read")


def flat(scratch, mib, entries):
    def make(directory):
        def at(name):
            return os.path.join(directory, name)

        make_flat(at("read"), 10, 4096)
        make_flat(at("ten"), 10)
        make_flat(at("many"), entries)
        for name in ("append", "unlink", "rename", "chmod", "touched"):
            make_flat(at(name), 100, 4096)
        make_large(at("mib1"), 5, 1 << 20)
        make_large(at("large"), 1, mib << 20)
        os.mkdir(at("bin"))
        shutil.copy("/bin/true", at("bin"))

    return scratch.lower(f"calls-{mib}-{entries}", make)


def calls(test, path, count=""):
    return f"/bench/calls {test} /work/{path} {count}".strip()


def timed(name, test, path, count="", target=None, **more):
    return Step(name, calls(test, path, count), target, value=True, **more)


def reading():
    """Untouched files, then files of the branch. All of it several times: a few per cent are to be told apart."""
    def on(kind, directory, file, rounds=7):
        return [timed(f"stat, {kind}", "stat", file, target=READ, rounds=rounds),
                timed(f"open+close, {kind}", "open", file, target=READ, rounds=rounds),
                timed(f"read 4 KiB, {kind}", "pread", file, target=READ, rounds=rounds),
                timed(f"fstatat through a handle, {kind}", "statat", directory, target=Target(2.0), rounds=3),
                timed(f"openat through a handle, {kind}", "openat", directory, target=Target(2.0), rounds=3)]

    return on("lower", "read", "read/0") + [
        timed("readdir of 10, lower", "readdir", "ten", target=READ, rounds=5),
        timed("readdir of many, lower", "readdir", "many", target=READ, rounds=3),
        timed("exec, lower", "exec", "bin/true", target=READ, rounds=5),
        timed("append to a lower file of 4 KiB, the first in its directory", "append", "touched", 1),
        Step("make 10 files", calls("create", "made", 10), value=True, before="mkdir /work/made"),
    ] + on("upper", "made", "made/0") + [
        Step("exec, upper", calls("exec", "made/true"), READ, value=True, rounds=5, before="cp -n /work/bin/true /work/made/true"),
        timed("readdir of 100, split", "readdir", "touched", target=READ, rounds=5),
    ]


def changing(mib, repetition_files=100):
    cp = "cp --reflink=auto /work/large/0 /work/copy"
    return [
        Step("create+write+close", calls("create", "new{i}", 300), Target(1.4), value=True, before="mkdir /work/new{i}", rounds=3),
        Step("mkdir", calls("mkdir", "dirs{i}", 100), value=True, before="mkdir /work/dirs{i}", rounds=2),
        Step("rename, upper", calls("rename", "ren{i}", 100), value=True, rounds=2,
             before="mkdir /work/ren{i} && cd /work/ren{i} && seq 0 99 | xargs touch"),
        Step("unlink, upper", calls("unlink", "un{i}", 100), value=True, rounds=2,
             before="mkdir /work/un{i} && cd /work/un{i} && seq 0 99 | xargs touch"),
        timed("append to a lower file of 4 KiB", "append", "append", repetition_files),
        timed("unlink, lower", "unlink", "unlink", repetition_files),
        timed("rename, lower", "rename", "rename", repetition_files),
        timed("chmod, lower", "chmod", "chmod", repetition_files),
        timed("append to a lower file of 1 MiB", "append", "mib1", 5),
        Step(f"append to a lower file of {mib} MiB (limit: cp --reflink=auto)", "/bin/sh -c 'echo >>/work/large/0'", Target(plus=1),
             limit=cp),
    ]


def outside():
    """The limit is a supervisor that does nothing, in the plain container."""
    return [Step("access(W_OK) outside the workdir (limit: bare round trip)", "/bench/calls access /tmp/outside", Target(1.3, kind="alone"),
                 value=True, rounds=5, before="touch /tmp/outside", limit="/bench/roundtrip /tmp/outside")]


def groups(scratch):
    mib, entries = int(os.environ.get("LARGE_MIB", "100")), int(os.environ.get("ENTRIES", "10000"))
    lower = flat(scratch, mib, entries)
    return [Group("calls", lower, reading() + outside() + changing(mib))]
