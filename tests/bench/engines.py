"""The engines that are compared, and the containers in which they are.

An engine says what is bind-mounted at the workdir of a container (a copy of the lower, the lower itself, a mount over it)
and which runtime starts it. Everything else is the same: the bundle, the root (the machine's own, copy-on-write), the
delegate. Each container runs programs/step.c, which takes commands and gives times.
"""
import json
import os
import random
import shutil
import signal
import string
import subprocess
import tempfile

WORKDIR = "/work"
INPUTS = "/bench"  # the scratch directory's `inputs` in every container, read-only

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
                "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"]


class BenchError(Exception):
    """Something that was to be measured, or prepared for it, failed."""


def run(*command, **options):
    """Runs a command that must succeed; its output."""
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def short_directory(parent):
    """A new one with a name so short that sockets in it fit their address."""
    while True:
        path = os.path.join(parent, "cb" + "".join(random.choices(string.ascii_letters, k=5)))
        try:
            os.mkdir(path, 0o700)
            return path
        except FileExistsError:
            continue


class Scratch:
    """Directories of one run. The store and the bundles are on disk, the state in memory, as they are by default."""

    def __init__(self, root, build):
        self.root, self.build = root, build
        self.memory = short_directory("/run")
        self.image = None
        self.dir = self.disk(os.environ.get("DISK", "memory"))
        self.sessions = set()
        self.engines = []
        self._count = 0
        for name in ("inputs", "lowers", "work", "bundles", "rootfs", "rootfs.upper", "rootfs.work", "spec", "store"):
            os.mkdir(self.path(name))
        os.symlink(self.memory, self.path("s"))
        run("mount", "-t", "overlay", "-o",
            f"lowerdir=/,upperdir={self.path('rootfs.upper')},workdir={self.path('rootfs.work')}", "overlay", self.path("rootfs"))
        run("runc", "spec", cwd=self.path("spec"))
        with open(self.path("spec", "config.json"), encoding="utf-8") as f:
            self.spec = json.load(f)
        os.environ.update(COWRUN_STATE=self.path("s"), COWRUN_STORE=self.path("store"), COWRUN_CONFIG=self.path("config.json"))

    def disk(self, where):
        """A directory of the disk; or a new ext4 in memory: one that is aged, full or used by others has times of its own."""
        if where != "memory":
            return short_directory(where)
        number, self.image = tempfile.mkstemp(prefix="cowrun-bench-", dir="/dev/shm")
        os.ftruncate(number, int(os.environ.get("DISK_GIB", "10")) << 30)
        os.close(number)
        run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        directory = short_directory("/var/tmp")
        run("mount", "-o", "loop", self.image, directory)
        return directory

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def fresh(self, kind):
        """A name that was not used before, and a new directory of that name."""
        self._count += 1
        name = f"{kind}{self._count}"
        os.mkdir(self.path("work", name))
        return name, self.path("work", name)

    def lower(self, name, make):
        """The directory `name` of the lowers; make(directory) fills it the first time."""
        directory = self.path("lowers", name)
        if not os.path.isdir(directory):
            os.mkdir(directory)
            make(directory)
        return directory

    def close(self):
        """Takes away what is left, also after an error in the middle of everything."""
        for session in list(self.sessions):
            session.close()
        for engine in self.engines:
            engine.release_all()
        subprocess.run([os.path.join(self.root, "tests/e2e/clean"), self.dir], stderr=subprocess.DEVNULL, check=False)
        if self.image:
            subprocess.run(["umount", self.dir], check=False)
            os.unlink(self.image)
        for directory in (self.dir, self.memory):
            subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)


class Engine:
    """The plain delegate with a bind mount: the limit. The others differ in what they override."""

    title = "plain"
    annotations = {}

    def __init__(self, scratch, delegate):
        self.scratch, self.delegate = scratch, delegate
        self.runtime = delegate
        self.held = {}  # what was prepared, by its source directory
        scratch.engines.append(self)

    def prepare(self, lower, name, directory):
        """What is mounted at the workdir of container `name`, which may change it."""
        run("cp", "-a", "--reflink=auto", lower + "/.", directory)
        return directory

    def share(self, lower, name, directory):
        """The same for containers that change nothing: without a copy."""
        return lower

    def release(self, name, directory):
        """After the container."""

    def release_all(self):
        for name, directory in list(self.held.items()):
            self.give_back(name, directory)

    def take(self, lower, shared=False):
        """(name, source); to be given back by name."""
        name, directory = self.scratch.fresh(self.title.replace(" ", "-"))
        self.held[name] = directory
        return name, (self.share if shared else self.prepare)(lower, name, directory)

    def give_back(self, name, directory=None):
        directory = directory or self.held[name]
        self.release(name, directory)
        self.held.pop(name, None)
        subprocess.run(["rm", "-rf", "--one-file-system", directory], check=False)

    def environment(self):
        return os.environ | {"COWRUN_RUNTIME": self.delegate}


class Cowrun(Engine):
    """cowrun as it was built; or another build of it, or another program with its annotations."""

    title = "cowrun"
    annotations = {"run.cowrun.workdir": WORKDIR}

    def __init__(self, scratch, delegate, program, title="cowrun", annotations=()):
        super().__init__(scratch, delegate)
        self.runtime, self.title = program, title
        self.annotations = self.annotations | dict(a.split("=", 1) for a in annotations)

    def prepare(self, lower, name, directory):
        return lower

    def release(self, name, directory):
        subprocess.run([self.runtime, "branch", "discard", name], env=self.environment(), stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)


class Mounted(Engine):
    """A mount over the lower is the source of the bind mount: mount(lower, directory, mountpoint)."""

    def __init__(self, scratch, delegate, title, mount):
        super().__init__(scratch, delegate)
        self.title, self.mount = title, mount

    def prepare(self, lower, name, directory):
        for part in ("upper", "work", "merged"):
            os.mkdir(os.path.join(directory, part))
        self.mount(lower, directory, os.path.join(directory, "merged"))
        return os.path.join(directory, "merged")

    def share(self, lower, name, directory):
        return self.prepare(lower, name, directory)

    def release(self, name, directory):
        merged = os.path.join(directory, "merged")
        if os.path.ismount(merged):
            subprocess.run(["umount", merged], check=False)
            if os.path.ismount(merged):
                subprocess.run(["umount", "-l", merged], check=False)


def layers(lower, directory):
    return f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work"


def mount_overlay(lower, directory, mountpoint):
    run("mount", "-t", "overlay", "-o", layers(lower, directory), "overlay", mountpoint)


def mount_fuse(lower, directory, mountpoint):
    run("fuse-overlayfs", "-o", layers(lower, directory), mountpoint)


def mount_by(command):
    return lambda lower, directory, mountpoint: run(command, lower, directory, mountpoint)


def choose(scratch, delegate):
    """The engines of this run, the limit first. ENGINES names them; OTHER and OTHER_MOUNT add some (see `bench`)."""
    known = {
        "cowrun": lambda: Cowrun(scratch, delegate, os.path.join(scratch.build, "bin/cowrun")),
        "overlay": lambda: Mounted(scratch, delegate, "overlay", mount_overlay),
        "fuse-overlayfs": lambda: Mounted(scratch, delegate, "fuse-overlayfs", mount_fuse),
    }
    chosen = [Engine(scratch, delegate)]
    for name in os.environ.get("ENGINES", " ".join(known)).split():
        if name not in known:
            raise BenchError(f"ENGINES: not one of {' '.join(known)}: {name}")
        if name == "fuse-overlayfs" and not (shutil.which(name) and os.path.exists("/dev/fuse")):
            print("# fuse-overlayfs: not installed, or no /dev/fuse")
            continue
        chosen.append(known[name]())
    for other in os.environ.get("OTHER", "").split():
        title, _, program = other.partition("=")
        program, *annotations = program.split(",")
        chosen.append(Cowrun(scratch, delegate, os.path.realpath(program), title, annotations))
    for other in os.environ.get("OTHER_MOUNT", "").split():
        title, _, program = other.partition("=")
        chosen.append(Mounted(scratch, delegate, title, mount_by(program)))
    return chosen


def applies(rule):
    """Does a rule of podman's profile hold for these containers?"""
    wanted, unless = rule.get("includes") or {}, rule.get("excludes") or {}
    return (all(c in CAPABILITIES for c in wanted.get("caps", [])) and not any(c in CAPABILITIES for c in unless.get("caps", []))
            and ("amd64" in wanted["arches"] if "arches" in wanted else True))


def seccomp_profile(path="/usr/share/containers/seccomp.json"):
    """podman's default profile as it is in its bundles, or None: containers have one, and it has its price."""
    if os.environ.get("SECCOMP", "podman") == "none" or not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        given = json.load(f)
    calls = []
    for rule in filter(applies, given["syscalls"]):
        call = {"names": rule["names"], "action": rule["action"]}
        if rule.get("args"):
            call["args"] = rule["args"]
        if "errnoRet" in rule:
            call["errnoRet"] = rule["errnoRet"]
        calls.append(call)
    return {"defaultAction": given["defaultAction"], "defaultErrnoRet": given.get("defaultErrnoRet", 38),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": calls}


def config(scratch, engine, name, source, args):
    """config.json of a container; what the machine may lack (limits, its own cgroup and network) is left out."""
    spec = json.loads(json.dumps(scratch.spec))
    process, linux = spec["process"], spec["linux"]
    spec["root"] = {"path": scratch.path("rootfs"), "readonly": False}
    spec["annotations"] = dict(engine.annotations) | ({"run.cowrun.branch": name} if engine.annotations else {})
    spec["hostname"] = "bench"
    process.update(terminal=False, cwd=WORKDIR, args=args, noNewPrivileges=False,
                   capabilities={k: CAPABILITIES for k in ("bounding", "permitted", "effective")})
    process["env"] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8",
                      "PYTHONDONTWRITEBYTECODE=1", "GIT_CONFIG_NOSYSTEM=1"]
    process.pop("rlimits", None)
    linux["cgroupsPath"] = f"/cowrun-bench/{os.path.basename(scratch.dir)}-{name}"
    linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != "network"]
    profile = seccomp_profile()
    if profile:
        linux["seccomp"] = profile
    mounts = [m for m in spec["mounts"] if m["destination"] not in ("/sys", "/sys/fs/cgroup")]
    mounts.append({"type": "none", "source": "/sys", "destination": "/sys", "options": ["rbind", "ro"]})
    mounts.append({"type": "bind", "source": scratch.path("inputs"), "destination": INPUTS, "options": ["rbind", "ro"]})
    mounts.append({"type": "bind", "source": source, "destination": WORKDIR, "options": ["rbind", "rw"]})
    spec["mounts"] = mounts
    return spec


def bundle(scratch, engine, name, source, args):
    """A new one for each container: cowrun edits it. Its directory."""
    directory = scratch.path("bundles", name)
    os.mkdir(directory)
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(scratch, engine, name, source, args), f)
    return directory


def command(scratch, engine, verb, name, *more):
    return [engine.runtime, "--root", scratch.path("r"), verb, *more, name]


class Session:
    """A container that runs step; call do() for each command."""

    def __init__(self, scratch, engine, lower, shared=False):
        self.scratch, self.engine = scratch, engine
        self.process = None
        self.name, source = engine.take(lower, shared)
        scratch.sessions.add(self)
        directory = bundle(scratch, engine, self.name, source, [INPUTS + "/step"])
        with open(os.path.join(directory, "errors"), "wb") as errors:
            # A session of its own: an interrupt from the terminal is ours to deal with.
            self.process = subprocess.Popen(command(scratch, engine, "run", self.name, "--bundle", directory), text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            env=engine.environment(), start_new_session=True)
        self.errors = os.path.join(directory, "errors")
        if self.process.stdout.readline() != "ready\n":
            raise BenchError(f"{engine.title}: the container did not start: {self.said()}")

    def said(self):
        with open(self.errors, encoding="utf-8", errors="replace") as f:
            return f.read()

    def do(self, line, value=False):
        """Runs a shell command; the nanoseconds it took, or (value) the number that it printed."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split(maxsplit=2)
        if len(answer) < 2 or answer[0] != "0":
            raise BenchError(f"{self.engine.title}: {line}: {answer}\n{self.said()}")
        if not value:
            return int(answer[1])
        return float(answer[2])

    def stop(self):
        """The container ends; what it made is still there."""
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()
        self.process = None

    def close(self):
        self.stop()
        self.engine.give_back(self.name)
        self.scratch.sessions.discard(self)
