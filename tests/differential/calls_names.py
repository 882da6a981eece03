"""Calls that make, move and take away names, and those that move a process."""
import os
import stat

from model import R, W, X
from tree import encode, octal

AT_EMPTY_PATH, AT_REMOVEDIR, AT_SYMLINK_FOLLOW = 0x1000, 0x200, 0x400
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
DIR_MODES = [0o755, 0o777, 0o700, 0o1777, 0o2775, 0o000, 0o555]


class NameCalls:
    def name_calls(self):
        return [(6, self.make_directory), (3, self.make_node), (8, self.unlink), (4, self.rmdir), (12, self.rename), (5, self.link), (2, self.link_tree),
                (3, self.symlink), (2, self.bind), (1, self.connect), (4, self.change_directory), (1, self.set_umask),
                (2, self.open_temporary), (2, self.link_temporary)]

    def writable(self, actor, directory):
        return directory.kind == "dir" and actor.reaches(directory) and actor.may(directory, W | X)

    def make_directory(self, actor):
        place = self.new_place(actor)
        mode = self.random.choice(DIR_MODES)
        if self.chance(0.4):
            self.emit(actor, "mkdir", self.plain(actor, place), octal(mode))
        else:
            self.emit(actor, "mkdirat", *self.at(actor, place), octal(mode))
        if self.writable(actor, place[0]) and place[1] not in place[0].children:
            self.world.create(actor, "dir", *place, mode)

    def make_node(self, actor):
        place = self.new_place(actor)
        kind, bits = self.random.choice([("fifo", stat.S_IFIFO), ("file", stat.S_IFREG), ("socket", stat.S_IFSOCK),
                                         ("null", stat.S_IFCHR)])
        mode = bits | self.random.choice([0o644, 0o666, 0o600])
        device = os.makedev(1, 3) if kind == "null" else 0
        if self.chance(0.4):
            self.emit(actor, "mknod", self.plain(actor, place), octal(mode), device)
        else:
            self.emit(actor, "mknodat", *self.at(actor, place), octal(mode), device)
        if self.writable(actor, place[0]) and place[1] not in place[0].children and (kind != "null" or actor.uid == 0):
            self.world.create(actor, kind, *place, mode & 0o777)

    def removable(self, actor):
        return lambda n: bool(n.names) and actor.may_remove(n.names[0][0], n)

    def unlink(self, actor):
        node = self.node(actor, "file", "link", "fifo", "socket", "null", wish=self.removable(actor))
        if self.chance(0.05):
            node = self.node(actor, "dir")
        place = self.place_of(node) if self.chance(0.93) else self.new_place(actor)
        if self.chance(0.4):
            self.emit(actor, "unlink", self.plain(actor, place))
        else:
            self.emit(actor, "unlinkat", *self.at(actor, place), 0)
        self.removed(actor, place, "file")

    def removed(self, actor, place, kind):
        directory, name = place
        node = directory.children.get(name)
        if node is None or (node.kind == "dir") != (kind == "dir") or node.children:
            return
        if actor.may_remove(directory, node):
            self.world.detach(directory, name)

    def rmdir(self, actor):
        removable = self.removable(actor)
        node = self.node(actor, "dir", wish=lambda n: not n.children and removable(n))
        if node.children and self.chance(0.3):
            self.empty(actor, node)
        place = self.place_of(node)
        if self.chance(0.4):
            self.emit(actor, "rmdir", self.plain(actor, place))
        else:
            self.emit(actor, "unlinkat", *self.at(actor, place), AT_REMOVEDIR)
        self.removed(actor, place, "dir")

    def empty(self, actor, directory):
        for name, node in list(directory.children.items())[:12]:
            if node.kind != "dir" or not node.children:
                place = (directory, name)
                self.emit(actor, "unlinkat", *self.at(actor, place), AT_REMOVEDIR if node.kind == "dir" else 0)
                self.removed(actor, place, "dir" if node.kind == "dir" else "file")

    def rename(self, actor):
        node = self.node(actor, wish=self.removable(actor))
        old = self.place_of(node)
        other = self.node(actor, wish=lambda n: n.kind == node.kind and self.removable(actor)(n) and not n.children)
        new = self.place_of(other) if self.chance(0.35) else self.new_place(actor)
        flags = self.random.choice([0] * 8 + [NOREPLACE, EXCHANGE, EXCHANGE, WHITEOUT, NOREPLACE | EXCHANGE])
        if flags & EXCHANGE and self.chance(0.8):
            new = self.place_of(self.node(actor, wish=self.removable(actor)))
        if flags == 0 and self.chance(0.4):
            self.emit(actor, "rename", self.plain(actor, old), self.plain(actor, new))
        elif flags == 0 and self.chance(0.4):
            self.emit(actor, "renameat", *self.at(actor, old), *self.at(actor, new))
        else:
            self.emit(actor, "renameat2", *self.at(actor, old), *self.at(actor, new), flags)
        self.renamed(actor, old, new, flags)

    def below(self, directory, above):
        while directory is not above:
            if directory.parent is directory or directory.parent is None:
                return False
            directory = directory.parent
        return True

    def renamed(self, actor, old, new, flags):
        node, replaced = old[0].children.get(old[1]), new[0].children.get(new[1])
        if node is None or not new[1] or node is replaced or flags & WHITEOUT or flags == NOREPLACE | EXCHANGE:
            return
        if not actor.may_remove(old[0], node) or not self.writable(actor, new[0]):
            return
        if node.kind == "dir" and self.below(new[0], node) or replaced is not None and not actor.may_remove(new[0], replaced):
            return
        if flags & EXCHANGE:
            if replaced is None or replaced.kind == "dir" and self.below(old[0], replaced):
                return
            self.world.detach(*old)
            self.world.detach(*new)
            self.world.attach(node, *new)
            self.world.attach(replaced, *old)
            return
        if replaced is not None:
            if flags & NOREPLACE or replaced.children or (replaced.kind == "dir") != (node.kind == "dir"):
                return
            self.world.detach(*new)
        self.world.detach(*old)
        self.world.attach(node, *new)

    def link(self, actor):
        node = self.node(actor, "file", "file", "link", "fifo", "socket", wish=lambda n: self.reachable(actor)(n) and actor.owns(n))
        if self.chance(0.03):
            node = self.node(actor, "dir")
        old, new = self.place_of(node), self.new_place(actor)
        follow = self.random.choice([0, 0, AT_SYMLINK_FOLLOW])
        if self.chance(0.4):
            follow = 0
            self.emit(actor, "link", self.plain(actor, old), self.plain(actor, new))
        else:
            self.emit(actor, "linkat", *self.at(actor, old), *self.at(actor, new), follow)
        if node.kind != "dir" and (not follow or node.kind != "link") and self.writable(actor, new[0]) and actor.owns(node) \
                and new[1] not in new[0].children and self.reachable(actor)(node):
            self.world.attach(node, *new)

    def link_tree(self, actor):
        """As cp -al: the files of a directory, under their names, in a new one; some of them are then called by the new name."""
        directory = self.directory(actor, R | X)
        place = self.new_place(actor)
        self.emit(actor, "mkdirat", *self.at(actor, place), octal(0o777))
        if not self.writable(actor, place[0]) or place[1] in place[0].children:
            return
        new = self.world.create(actor, "dir", *place, 0o777)
        for name, node in list(directory.children.items())[:8]:
            if node.kind == "dir" or new is directory:
                continue
            self.emit(actor, "linkat", *self.at(actor, (directory, name)), *self.at(actor, (new, name)), 0)
            if actor.owns(node) and self.reachable(actor)(node):
                self.world.attach(node, new, name)

    def symlink(self, actor):
        place = self.new_place(actor)
        goal = self.paths.names_of(self.place_of(self.node(actor)))
        target = self.random.choice([b"/".join([b"/work"] + (goal or [])), b"nowhere", (goal or [b"."])[-1], b".."])
        if self.chance(0.4):
            self.emit(actor, "symlink", encode(target), self.plain(actor, place))
        else:
            self.emit(actor, "symlinkat", encode(target), *self.at(actor, place))
        if self.writable(actor, place[0]) and place[1] not in place[0].children:
            self.world.create(actor, "link", *place, 0o777, target)

    def short_path(self, actor, place):
        """sun_path has 108 bytes: by the working directory if the place is deep."""
        path = self.plain(actor, place)
        names = self.paths.names_of(place)
        if len(path) > 90 and names is not None:
            path = encode(self.paths.relative(actor.files.cwd, names) or b"x")
        return path

    def bind(self, actor):
        place = self.new_place(actor)
        slot = self.free_slot(actor)
        self.emit(actor, "bind", slot, self.short_path(actor, place))
        if self.writable(actor, place[0]) and place[1] not in place[0].children:
            self.world.create(actor, "socket", *place, 0o777)

    def connect(self, actor):
        node = self.node(actor, "socket", wish=self.reachable(actor))
        self.emit(actor, "connect", 30, self.short_path(actor, self.place_of(node)))

    def change_directory(self, actor):
        number, slot = self.slot(actor, lambda s: s.node.kind == "dir")
        if slot is not None and self.chance(0.4):
            self.emit(actor, "fchdir", number)
            if actor.may(slot.node, X):
                actor.files.cwd = slot.node
        else:
            directory = self.directory(actor, X)
            self.emit(actor, "chdir", self.plain(actor, self.place_of(directory)))
            if actor.reaches(directory):
                actor.files.cwd = directory
        self.emit(actor, "getcwd")

    def set_umask(self, actor):
        actor.files.umask = self.random.choice([0o022, 0o022, 0o077, 0o002, 0o000])
        self.emit(actor, "umask", octal(actor.files.umask))

    def open_temporary(self, actor):
        directory = self.directory(actor, R | W | X)
        slot = self.free_slot(actor)
        flags = os.O_TMPFILE | self.random.choice([os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL])
        self.emit(actor, "openat", slot, *self.at(actor, (directory, b"")), hex(flags), "0644")
        self.emit(actor, "write", slot, "temporary")
        self.temporary = (actor.process, slot)

    def link_temporary(self, actor):
        process, slot = getattr(self, "temporary", (None, 0))
        if process is not actor.process:
            return
        place = self.new_place(actor)
        if self.chance(0.5) and slot not in process.slots:
            self.emit(actor, "linkat", slot, "%", *self.at(actor, place), hex(AT_EMPTY_PATH))
        else:
            self.emit(actor, "linkat", "-", f"/proc/self/fd/{200 + slot}", *self.at(actor, place), hex(AT_SYMLINK_FOLLOW))
        if self.writable(actor, place[0]) and place[1] not in place[0].children:
            self.world.create(actor, "file", *place, 0o644)
