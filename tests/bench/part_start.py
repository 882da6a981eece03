"""(c) From the start of a container to the end of `true` in it, over lowers of more and more files."""
import os
import shutil
import subprocess
import time

from engines import BenchError, Cowrun, Engine, bundle, command, run
from measure import Line, Target, rotated

LIMIT_MS = 8


def make_lower(scratch, files):
    """Ten entries, one of them a directory with all the files below it: the start must not depend on those."""
    def make(directory):
        for i in range(9):
            open(os.path.join(directory, str(i)), "w", encoding="utf-8").close()
        os.mkdir(os.path.join(directory, "below"))
        run(scratch.path("inputs/names"), os.path.join(directory, "below"), str(files))

    return scratch.lower(f"start-{files}", make)


def timed(arguments, environment):
    begun = time.monotonic_ns()
    done = subprocess.run(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    took = time.monotonic_ns() - begun
    if done.returncode != 0:
        raise BenchError(f"{' '.join(arguments)}: status {done.returncode}\n{done.stdout}")
    return took


def by_bundle(scratch, engine, lower):
    name, source = engine.take(lower, shared=True)
    try:
        directory = bundle(scratch, engine, name, source, ["/bin/true"])
        return timed(command(scratch, engine, "run", name, "--bundle", directory), engine.environment())
    finally:
        engine.give_back(name)


class Podman:
    """podman with runc; it starts runtimes with an environment of its own, so cowrun gets what it needs from a script."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.program = scratch.path("podman-cowrun")
        names = ("COWRUN_STATE", "COWRUN_STORE", "COWRUN_CONFIG")
        with open(self.program, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + "".join(f"export {n}='{os.environ[n]}'\n" for n in names) +
                    f"export COWRUN_RUNTIME='{shutil.which('runc')}'\nexec '{scratch.build}/bin/cowrun' \"$@\"\n")
        os.chmod(self.program, 0o755)
        with open(scratch.path("containers.conf"), "w", encoding="utf-8") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "none"\n'
                    f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n[engine.runtimes]\ncowrun = ["{self.program}"]\n')
        self.environment = os.environ | {"CONTAINERS_CONF": scratch.path("containers.conf")}

    def __call__(self, scratch, engine, lower):
        name, source = engine.take(lower, shared=True)
        options = []
        for key, value in (engine.annotations | ({"run.cowrun.branch": name} if engine.annotations else {})).items():
            options += ["--annotation", f"{key}={value}"]
        try:
            return timed(["podman", "--root", scratch.path("p"), "--runroot", scratch.path("pr"), "--tmpdir", scratch.path("pt"),
                          "--storage-driver", "vfs", "--runtime", self.program if engine.annotations else shutil.which("runc"),
                          "run", "--rm", "--name", name, "--volume", f"{source}:/work", *options, "--rootfs", "/:O", "/bin/true"],
                         self.environment)
        finally:
            engine.give_back(name)


def measure(scratch, engines, lines):
    """STARTS: how many of each, SIZES: files in the lower, STARTERS: what starts them."""
    starts = int(os.environ.get("STARTS", "15"))
    for starter in os.environ.get("STARTERS", "crun runc podman").split():
        program = shutil.which("runc" if starter == "podman" else starter)
        if program is None or (starter == "podman" and shutil.which("podman") is None):
            print(f"# {starter}: not installed")
            continue
        once = Podman(scratch) if starter == "podman" else by_bundle
        pair = [Engine(scratch, program)]
        pair += [Cowrun(scratch, program, e.runtime, e.title) for e in engines if isinstance(e, Cowrun) and
                 (starter != "podman" or e.title == "cowrun")]
        for size in os.environ.get("SIZES", "10 10000").split():
            # podman does things of its own: shown only.
            line = Line("start", f"start to exit of true, {starter}, {size} files", None if starter == "podman" else
                        Target(plus=LIMIT_MS))
            lines.append(line)
            lower = make_lower(scratch, int(size))
            for number in range(starts + 1):
                for engine in rotated(pair, number):
                    took = once(scratch, engine, lower)
                    if number > 0:
                        line.add(engine.title, took)
