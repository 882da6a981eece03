"""What the generator believes the tree and the actors to be like, so that about half of its calls make sense.

It is a belief, not an oracle: a wrong guess costs a call that fails on both sides.
"""
import os
from dataclasses import dataclass, field

R, W, X = 4, 2, 1


@dataclass(eq=False)
class Node:
    kind: str  # dir file link fifo socket null
    mode: int
    uid: int
    gid: int
    parent: "Node" = None  # of a directory
    children: dict = field(default_factory=dict)
    target: bytes = b""
    names: list = field(default_factory=list)  # [(directory, name)], of anything but the top
    runs: bool = False
    xattrs: set = field(default_factory=set)
    size: int = 0

    @property
    def alive(self):
        return self.parent is self or bool(self.names)


class World:
    def __init__(self, entries):
        self.top = None
        self.nodes = []
        by_path = {}
        for entry in entries:
            if entry.kind == "hard":
                node = by_path[entry.values["target"]]
            else:
                kind = "file" if entry.kind in ("program", "script") else entry.kind
                node = Node(kind, entry.mode, entry.uid, entry.gid, runs=kind != entry.kind,
                            target=entry.values.get("target", b""), size=int(entry.values.get("size", b"0")),
                            xattrs={key for key in entry.values if key.startswith("user.")})
                self.nodes.append(node)
            by_path[entry.path] = node
            if not entry.path:
                self.top = node
                node.parent = node
                continue
            parent, _, name = entry.path.rpartition(b"/")
            self.attach(node, by_path[parent], name)

    def attach(self, node, directory, name):
        directory.children[name] = node
        node.names.append((directory, name))
        if node.kind == "dir":
            node.parent = directory

    def detach(self, directory, name):
        node = directory.children.pop(name)
        node.names.remove((directory, name))
        return node

    def create(self, actor, kind, directory, name, mode, target=b""):
        gid = directory.gid if directory.mode & 0o2000 else actor.gid
        if kind == "dir" and directory.mode & 0o2000:
            mode |= 0o2000
        node = Node(kind, mode & ~actor.files.umask, actor.uid, gid, target=target)
        self.attach(node, directory, name)
        self.nodes.append(node)
        return node

    def alive(self, *kinds):
        return [n for n in self.nodes if n.alive and (not kinds or n.kind in kinds)]

    def components(self, directory):
        """The names from the top down to a directory, or None if it is no longer below it."""
        names = []
        while directory is not self.top:
            if not directory.names:
                return None
            above, name = directory.names[0]
            names.insert(0, name)
            directory = above
        return names

    def lookup(self, directory, path, depth=0):
        """What a symbolic link's text leads to, or None. Permission is not looked at."""
        if path.startswith(b"/"):
            if path != b"/work" and not path.startswith(b"/work/"):
                return None
            directory, path = self.top, path[5:]
        for name in path.split(b"/"):
            if name in (b"", b"."):
                continue
            if directory is None or directory.kind != "dir":
                return None
            if name == b"..":
                directory = directory.parent
                continue
            above, directory = directory, directory.children.get(name)
            while directory is not None and directory.kind == "link":
                if depth > 8:
                    return None
                depth += 1
                directory = self.lookup(above, directory.target, depth)
        return directory


@dataclass(eq=False)
class Slot:
    node: Node
    flags: int


@dataclass(eq=False)
class Process:
    """What the threads of a process share: descriptors, mappings."""
    slots: dict = field(default_factory=dict)
    maps: dict = field(default_factory=dict)


@dataclass(eq=False)
class Files:
    """What CLONE_FS shares."""
    cwd: Node
    root: Node = None  # the container's
    umask: int = 0o022


@dataclass(eq=False)
class Actor:
    number: int
    process: Process
    files: Files
    uid: int = 0
    gid: int = 0
    groups: tuple = ()
    dac: bool = True  # CAP_DAC_OVERRIDE, CAP_FOWNER and the like

    def may(self, node, bits):
        if self.dac and self.uid == 0:
            return True
        mode = node.mode & 7
        if node.uid == self.uid:
            mode = node.mode >> 6 & 7
        elif node.gid == self.gid or node.gid in self.groups:
            mode = node.mode >> 3 & 7
        return bits & ~mode == 0

    def owns(self, node):
        return (self.dac and self.uid == 0) or node.uid == self.uid

    def reaches(self, directory):
        """May it search the directory and all above it?"""
        while True:
            if not self.may(directory, X):
                return False
            if directory.parent is directory or directory.parent is None:
                return True
            directory = directory.parent

    def may_remove(self, directory, node):
        return (self.reaches(directory) and self.may(directory, W | X) and
                (not directory.mode & 0o1000 or self.owns(directory) or self.owns(node)))


def opened_for(flags):
    return {os.O_RDONLY: R, os.O_WRONLY: W, os.O_RDWR: R | W}.get(flags & os.O_ACCMODE, R | W)
