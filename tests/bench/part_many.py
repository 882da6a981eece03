"""(d) Many containers at once on one lower: how fast they start, and what each costs while it does nothing."""
import os
import re
import subprocess
import time

from engines import BenchError, Cowrun, bundle, command
from lowers import make_tree
from measure import Line, Target, rotated


def processes(pattern):
    """Those whose command line matches, that we may read."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                text = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if re.search(pattern, text):
            yield int(pid)


def pss_kib(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            return int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    except (OSError, AttributeError):
        return 0


def mount_count(pid_file):
    """Mounts in a container's namespace; each costs the kernel about half a KiB."""
    with open(pid_file, encoding="ascii") as f:
        pid = f.read().strip()
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        return sum(1 for _ in f)


class Crowd:
    """So many containers of one engine."""

    def __init__(self, scratch, engine, lower, count):
        self.scratch, self.engine = scratch, engine
        self.names = []
        self.took = 0
        try:
            self.start(lower, count)
        except BaseException:
            self.end()
            raise

    def spawn(self, verb, name, *options):
        return subprocess.Popen(command(self.scratch, self.engine, verb, name, *options), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.engine.environment())

    def start(self, lower, count):
        begun = time.monotonic_ns()
        waiting = []
        for _ in range(count):
            name, source = self.engine.take(lower, shared=True)
            self.names.append(name)
            directory = bundle(self.scratch, self.engine, name, source, ["/bin/sleep", "1000"])
            waiting.append(self.spawn("run", name, "--detach", "--bundle", directory, "--pid-file", self.pid_file(name)))
        failed = sum(1 for process in waiting if process.wait() != 0)
        self.took = time.monotonic_ns() - begun
        if failed:
            raise BenchError(f"{self.engine.title}: {failed} of {count} containers did not start")

    def helpers(self):
        """Programs of the engine that stay: PSS of all, in KiB. It counts what they share once."""
        if isinstance(self.engine, Cowrun):
            return sum(pss_kib(pid) for pid in processes(f"cowrun-agent --state {re.escape(self.scratch.path('s'))}/"))
        return sum(pss_kib(pid) for pid in processes(f"^fuse-overlayfs .*{re.escape(self.scratch.path('work'))}/"))

    def pid_file(self, name):
        return self.scratch.path("bundles", name, "pid")

    def mounts(self):
        return mount_count(self.pid_file(self.names[0]))

    def end(self):
        waiting = [self.spawn("delete", name, "--force") for name in self.names]
        for process, name in zip(waiting, self.names):
            process.wait()
            self.engine.give_back(name)


def measure(scratch, engines, lines):
    """MANY: how many at once."""
    lower = scratch.lower("many", lambda directory: make_tree(os.path.join(directory, "tree"), 200))
    for count in map(int, os.environ.get("MANY", "1 10 50 100").split()):
        started = Line("many", f"{count} containers at once: starts per second", None, "/s", max)
        memory = Line("many", f"{count} containers: PSS of agent or server, each", Target(most=2048) if count == 1 else None, "KiB")
        mounts = Line("many", f"{count} containers: mounts of one", None, "mounts")
        lines += [started, memory, mounts]
        for repetition in range(max(1, min(5, 50 // count))):
            for engine in rotated(engines, repetition):
                crowd = Crowd(scratch, engine, lower, count)
                try:
                    started.add(engine.title, count / (crowd.took / 1e9))
                    time.sleep(1.5)  # what agents do about once a second is done
                    if engine.title != "plain" and crowd.helpers() > 0:
                        memory.add(engine.title, crowd.helpers() / count)
                    mounts.add(engine.title, crowd.mounts())
                finally:
                    crowd.end()
