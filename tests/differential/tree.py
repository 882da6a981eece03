"""Random trees: what they hold, as text, and how they are made on the disk.

A tree is a list of entries, parents first. Each is a line of a case: KIND PATH MODE UID:GID MTIME [KEY=VALUE...], bytes as
%XX. All is of the past, so that a changed time shows.
"""
import os
import stat
import struct
from dataclasses import dataclass, field

ODD_NAMES = [b"with space", b"new\nline", b"\xff\xfe", b"tab\there", "\u00fc\u4e2d".encode(), b"-dash", b"*", b".hidden", b"..x",
             b"%41", b"@", b"a\\b", b"'quote\"", b"n" * 255, b"\x01\x7f"]
USERS = [0, 1000, 1001]
BLOCK = 4096


def encode(data):
    if not data:
        return "%"
    return "".join(chr(c) if 32 < c < 127 and c not in b"%@" else f"%{c:02X}" for c in data)


def octal(mode):
    return f"0{mode:o}"


def decode(text):
    if text == "%":
        return b""
    head, *rest = text.split("%")
    return head.encode("latin-1") + b"".join(bytes.fromhex(part[:2]) + part[2:].encode("latin-1") for part in rest)


@dataclass
class Entry:
    kind: str  # dir file link hard fifo socket null program script
    path: bytes  # relative to the tree's top; b"" is the top itself
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_000_000_000_000_000_000  # ns
    values: dict = field(default_factory=dict)  # target, size, sparse, fill; xattr names to bytes

    def line(self):
        words = [self.kind, encode(self.path), f"{self.mode:04o}", f"{self.uid}:{self.gid}", str(self.mtime)]
        return " ".join(words + [f"{key}={encode(value)}" for key, value in sorted(self.values.items())])

    @staticmethod
    def parse(line):
        kind, path, mode, owner, mtime, *values = line.split()
        uid, gid = owner.split(":")
        pairs = (value.split("=", 1) for value in values)
        return Entry(kind, decode(path), int(mode, 8), int(uid), int(gid), int(mtime),
                     {key: decode(value) for key, value in pairs})


def acl(user, bits, group_bits, other_bits):
    """The value of a POSIX ACL with one named user (posix_acl_xattr.h)."""
    entries = [(1, 7, -1), (2, bits, user), (4, group_bits, -1), (0x10, 7, -1), (0x20, other_bits, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)


def content(entry):
    size = int(entry.values.get("size", b"0"))
    fill = entry.values.get("fill", b"x")
    return (fill * (size // len(fill) + 1))[:size]


# --- making it -------------------------------------------------------------------------------------------------------

def make(top, entries, program):
    """Makes the tree at `top`, which does not exist. `program`: an executable that entries of that kind are copies of."""
    top = os.fsencode(top)
    for entry in entries:
        make_entry(top, entry, program)
    for entry in reversed(entries):
        dress(top, entry)


def make_entry(top, entry, program):
    path = os.path.join(top, entry.path) if entry.path else top
    if entry.kind == "dir":
        os.mkdir(path)
    elif entry.kind == "file":
        make_file(path, entry)
    elif entry.kind == "link":
        os.symlink(entry.values["target"], path)
    elif entry.kind == "hard":
        os.link(os.path.join(top, entry.values["target"]), path, follow_symlinks=False)
    elif entry.kind == "fifo":
        os.mkfifo(path)
    elif entry.kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o644)
    elif entry.kind == "null":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    else:
        with open(program, "rb") as source, open(path, "wb") as file:
            file.write(source.read() if entry.kind == "program" else b"#!/bin/sh\necho \"script $0 $*\"\n")


def make_file(path, entry):
    with open(path, "wb") as file:
        file.write(content(entry))
        if "sparse" in entry.values:
            file.seek(int(entry.values["sparse"]), os.SEEK_CUR)
            file.write(b"end")


def dress(top, entry):
    if entry.kind == "hard":
        return
    path = os.path.join(top, entry.path) if entry.path else top
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if entry.kind != "link":
        os.chmod(path, entry.mode)
    for key, value in entry.values.items():
        if "." in key:
            os.setxattr(path, key, value, follow_symlinks=False)
    os.utime(path, ns=(entry.mtime - 1_000_000_007, entry.mtime), follow_symlinks=False)


# --- inventing it ----------------------------------------------------------------------------------------------------

class Inventor:
    def __init__(self, random):
        self.random = random
        self.entries = [Entry("dir", b"", 0o755, random.choice([0, 1000]), 0)]
        self.taken = {b""}
        self.directories = [b""]
        self.owner = random.choice(USERS)
        self.clock = 1_000_000_000_000_000_000

    def name(self):
        if self.random.random() < 0.15:
            return self.random.choice(ODD_NAMES)
        return self.random.choice(b"a b c d e f lib src doc x1 x2 y.c z.h main data".split())

    def place(self, directory=None):
        for _ in range(50):
            parent = self.random.choice(self.directories) if directory is None else directory
            path = (parent + b"/" if parent else b"") + self.name() + (b"" if self.random.random() < 0.6 else
                                                                       b"%d" % self.random.randrange(30))
            if path not in self.taken and len(path) < 1500 and len(path.rsplit(b"/", 1)[-1]) <= 255:
                self.taken.add(path)
                return path
        path = b"spare%d" % len(self.taken)
        self.taken.add(path)
        return path

    def add(self, kind, path, mode=None, **values):
        r = self.random
        self.clock += r.randrange(1_000_000_000_000)
        uid, gid = (self.owner if r.random() < 0.6 else r.choice(USERS) for _ in range(2))
        entry = Entry(kind, path, mode if mode is not None else 0o644, uid, gid, self.clock,
                      {key: value for key, value in values.items()})
        self.entries.append(entry)
        return entry

    def directory(self, parent=None, mode=None):
        path = self.place(parent)
        self.directories.append(path)
        if mode is None:
            mode = self.random.choice([0o755] * 6 + [0o777] * 3 + [0o1777, 0o2775, 0o700, 0o750, 0o555])
        return self.add("dir", path, mode)

    def file(self, parent=None):
        r = self.random
        mode = r.choice([0o644] * 4 + [0o666] * 4 + [0o600, 0o400, 0o444, 0o664, 0o640, 0o000, 0o4755, 0o2755, 0o6777])
        size = r.choice([0, 1, 5, 100, 100, 4096, 5000, 70000])
        entry = self.add("file", self.place(parent), mode, size=b"%d" % size, fill=b"%d." % r.randrange(1000))
        if r.random() < 0.1:
            entry.values["sparse"] = b"%d" % r.choice([5000, 300000])
        if r.random() < 0.15:
            entry.values["user.first"] = b"value %d" % r.randrange(100)
        return entry

    def acls(self):
        r = self.random
        for entry in r.sample(self.entries, min(len(self.entries), 6)):
            if entry.kind in ("file", "dir"):
                entry.values["system.posix_acl_access"] = acl(r.choice([1000, 1001]), r.choice([0, 4, 6, 7]),
                                                              r.choice([0, 4, 5, 7]), r.choice([0, 4, 5]))
            if entry.kind == "dir" and entry.path and r.random() < 0.6:
                entry.values["system.posix_acl_default"] = acl(1000, r.choice([4, 6, 7]), 5, r.choice([0, 5]))

    def links(self):
        r = self.random
        files = [e.path for e in self.entries if e.kind == "file"]
        for _ in range(r.randrange(3, 10)):
            self.symlink(r)
        for _ in range(r.randrange(0, 4)):
            target = r.choice(files)
            self.entries.append(Entry("hard", self.place(), values={"target": target}))
        first, second = self.place(), self.place()
        self.add("link", first, 0o777, target=b"/work/" + second)
        self.add("link", second, 0o777, target=b"/work/" + first)

    def symlink(self, r):
        path = self.place()
        goal = r.choice([e.path for e in self.entries if e.kind in ("file", "dir", "dir", "link")])
        up = b"../" * path.count(b"/")
        target = r.choice([b"/work/" + goal, up + goal, up + goal, goal.rsplit(b"/", 1)[-1], b"nowhere", b"/etc/hostname",
                           b"/work", b"."]) or b"."
        self.add("link", path, 0o777, target=target)

    def invent(self):
        r = self.random
        for _ in range(r.randrange(6, 16)):
            self.directory()
        if r.random() < 0.4:  # deep
            parent = None
            for _ in range(r.randrange(5, 14)):
                parent = self.directory(parent, 0o777).path
        if r.random() < 0.3:  # wide
            wide = self.directory(mode=0o777).path
            for i in range(r.randrange(30, 200)):
                self.add("file", wide + b"/w%d" % i, 0o666)
        for _ in range(r.randrange(15, 40)):
            self.file()
        self.directory(mode=0o000)
        self.add("fifo", self.place(), r.choice([0o644, 0o666]))
        self.add("socket", self.place(), 0o777)
        if r.random() < 0.3:
            self.add("null", self.place(), 0o666)
        for _ in range(2):
            self.add("script", self.place(), r.choice([0o755, 0o777, 0o644]))
        self.add("program", self.place(), 0o777)
        self.links()
        self.acls()
        return self.entries
