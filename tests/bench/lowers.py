"""What the containers work on: trees, a git repository, archives, modules. Made once a run; the same bytes each time."""
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import zipfile

from engines import run

WORDS = "branch graft split upper lower shadow stage claim reveal retire journal listener notification verdict".split()


def text(seed, size):
    """Lines of words, about `size` bytes."""
    rng = random.Random(seed)
    lines = []
    while size > 0:
        lines.append(" ".join(rng.choices(WORDS, k=8)))
        size -= len(lines[-1]) + 1
    return "\n".join(lines) + "\n"


def write(path, content):
    with open(path, "w", encoding="utf-8") as f:
        f.write(content)


def make_tree(directory, files):
    """A source tree: directories of 20 files of 1 to 6 KiB, ten of them in each directory above."""
    for i in range(files):
        d = os.path.join(directory, f"part{i // 200}", f"dir{i // 20}")
        if i % 20 == 0:
            os.makedirs(d)
        write(os.path.join(d, f"file{i}.c"), text(i, 1024 + i % 6 * 1024))


def make_flat(directory, files, size=100):
    """Names 0, 1, 2..., as programs/calls.c wants them."""
    os.makedirs(directory)
    content = "x" * size
    for i in range(files):
        write(os.path.join(directory, str(i)), content)


def make_large(directory, files, size):
    os.makedirs(directory)
    for i in range(files):
        with open(os.path.join(directory, str(i)), "wb") as f:
            f.write(os.urandom(1 << 20) * (size >> 20))


def sources(root):
    """cowrun's own: what git would take, but for the tests; without git, what is there."""
    if os.path.exists(os.path.join(root, ".git")) and shutil.which("git"):
        listed = run("git", "-C", root, "ls-files", "-z", "--cached").split("\0")
    else:
        listed = [os.path.relpath(os.path.join(d, f), root) for d, _, files in os.walk(root) for f in files]
    return [f for f in listed if f.split("/")[0] in ("Makefile", "runtime", "hooks", "contrib", "config", "README.md")
            and os.path.isfile(os.path.join(root, f))]


def copy_sources(root, directory):
    for name in sources(root):
        target = os.path.join(directory, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(os.path.join(root, name), target)
        shutil.copymode(os.path.join(root, name), target)


def make_repository(root, directory):
    """Two commits that differ in every third file, `first` and `second`; `first` is checked out."""
    def git(*args):
        run("git", "-C", directory, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0", *args)

    os.makedirs(directory)
    copy_sources(root, directory)
    git("init", "-q", "-b", "first")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    git("checkout", "-q", "-b", "second")
    for i, name in enumerate(sources(root)):
        if i % 3 == 0:
            with open(os.path.join(directory, name), "a", encoding="utf-8") as f:
                f.write("/* the second commit */\n")
    git("commit", "-q", "-a", "-m", "second")
    git("checkout", "-q", "first")
    git("gc", "-q")


def make_modules(directory, count):
    """Python modules with their compiled form, so that importing writes nothing."""
    os.makedirs(directory)
    for i in range(count):
        write(os.path.join(directory, f"mod{i}.py"), f"# {text(i, 500).splitlines()[0]}\nvalue = {i}\n" +
              "".join(f"def f{k}(x):\n    return x + {k}\n" for k in range(10)))
    write(os.path.join(directory, "all_of_them.py"), "".join(f"import mod{i}\n" for i in range(count)))
    # Found to be current by the sources' times, which the copies keep.
    subprocess.run(["python3", "-m", "compileall", "-q", directory], check=True, stdin=subprocess.DEVNULL)


def make_tar(path, files):
    with tarfile.open(path, "w") as tar:
        for i in range(files):
            content = text(i % 50, 500).encode()
            info = tarfile.TarInfo(f"files/dir{i // 100}/file{i}")
            info.size, info.mtime, info.mode = len(content), 1700000000, 0o644
            tar.addfile(info, io.BytesIO(content))


def make_wheel(path, modules):
    """As pip wants it: METADATA, WHEEL and RECORD."""
    info = "benchpkg-1.0.dist-info"
    members = {f"benchpkg/sub{i // 20}/mod{i}.py": text(i, 600).replace("\n", "\n# ").join(("# ", "\n")) for i in range(modules)}
    members["benchpkg/__init__.py"] = ""
    members[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: benchpkg\nVersion: 1.0\n"
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in members) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)


def make_npm(path, files):
    """A package as `npm pack` leaves it."""
    members = {"package/package.json": json.dumps({"name": "benchpkg", "version": "1.0.0"})}
    members |= {f"package/lib/dir{i // 20}/file{i}.js": text(i, 600).replace("\n", "\n// ").join(("// ", "\n")) for i in range(files)}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content.encode()))
