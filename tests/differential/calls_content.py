"""Calls that open, write and change attributes."""
import os

from model import R, W, X, Slot, opened_for
from tree import acl, encode, octal

AT_EMPTY_PATH, AT_NOFOLLOW = 0x1000, 0x100
NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED = 1, 2, 4, 8, 16, 32
MODES = [0o644, 0o666, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o2755, 0o640, 0o1777]


class ContentCalls:
    def content_calls(self):
        return [(14, self.open_file), (8, self.open_directory), (6, self.open_new), (4, self.reopen), (3, self.close), (6, self.write_some),
                (3, self.truncate), (9, self.change_mode), (4, self.change_owner), (6, self.change_times), (6, self.change_xattr),
                (3, self.map_file), (3, self.lock), (3, self.copy), (2, self.hand_over), (2, self.duplicate), (1, self.change_flags)]

    def open_words(self, actor, slot, place, flags, mode="0644"):
        r = self.random
        way = r.random()
        if way < 0.2:
            self.emit(actor, "open", slot, self.plain(actor, place), hex(flags), mode)
        elif way < 0.4 and not flags & os.O_PATH:
            resolve = r.choice([0, 0, NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, BENEATH, IN_ROOT, IN_ROOT, CACHED])
            creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
            self.emit(actor, "openat2", slot, *self.at(actor, place), hex(flags), mode if creates else 0, resolve)
        else:
            self.emit(actor, "openat", slot, *self.at(actor, place), hex(flags), mode)

    def open_file(self, actor):
        r = self.random
        access = r.choice([os.O_RDONLY] * 3 + [os.O_RDWR] * 3 + [os.O_WRONLY] * 2)
        bits = opened_for(access)
        node = self.node(actor, "file", "file", "file", "link", "fifo", "null",
                         wish=lambda n: self.reachable(actor)(n) and actor.may(n, bits))
        flags = access | os.O_NONBLOCK
        for extra, p in ((os.O_TRUNC, 0.15), (os.O_APPEND, 0.2), (os.O_NOFOLLOW, 0.1), (os.O_CREAT, 0.15), (os.O_EXCL, 0.02),
                         (os.O_DIRECTORY, 0.02), (os.O_CLOEXEC, 0.3)):
            if self.chance(p):
                flags |= extra
        if self.chance(0.08):
            flags = os.O_PATH | (flags & os.O_NOFOLLOW)
        slot = self.free_slot(actor)
        self.open_words(actor, slot, self.place_of(node), flags)
        if self.reachable(actor)(node) and actor.may(node, bits) and node.kind != "link":
            actor.process.slots[slot] = Slot(node, flags)

    def open_directory(self, actor):
        directory = self.directory(actor, R | X)
        flags = self.random.choice([os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY, os.O_RDONLY | os.O_DIRECTORY,
                                    os.O_PATH | os.O_DIRECTORY, os.O_PATH])
        if self.chance(0.03):
            flags = os.O_RDWR
        slot = self.free_slot(actor)
        self.open_words(actor, slot, self.place_of(directory), flags)
        if actor.reaches(directory) and actor.may(directory, R):
            actor.process.slots[slot] = Slot(directory, flags)

    def open_new(self, actor):
        place = self.new_place(actor)
        slot = self.free_slot(actor)
        mode = self.random.choice(MODES)
        if self.chance(0.15):
            self.emit(actor, "creat", slot, self.plain(actor, place), octal(mode))
            flags = os.O_WRONLY
        else:
            flags = self.random.choice([os.O_RDWR, os.O_WRONLY, os.O_RDONLY]) | os.O_CREAT
            flags |= self.random.choice([0, os.O_EXCL, os.O_TRUNC])
            self.open_words(actor, slot, place, flags, octal(mode))
        if place[1] not in place[0].children and self.writable(actor, place[0]):
            node = self.world.create(actor, "file", *place, mode)
            actor.process.slots[slot] = Slot(node, flags)

    def reopen(self, actor):
        """/proc/self/fd/N and /dev/fd/N, for more than it was opened for."""
        number, slot = self.slot(actor, lambda s: s.node.kind == "file")
        if slot is None or actor.files.root is not None:
            return
        flags = self.random.choice([os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDONLY, os.O_WRONLY | os.O_APPEND])
        new = self.free_slot(actor)
        way = f"/dev/fd/{200 + number}"
        if self.chance(0.5):
            way, slot = self.slot_path(actor, lambda s: s.node.kind == "file")
        self.emit(actor, "openat", new, "-", way, hex(flags), 0)
        if slot is not None and actor.may(slot.node, opened_for(flags)):
            actor.process.slots[new] = Slot(slot.node, flags)

    def close(self, actor):
        number, _ = self.slot(actor)
        self.emit(actor, "close", number)
        actor.process.slots.pop(number, None)

    def writable_slot(self, slot):
        return slot.node.kind == "file" and bool(opened_for(slot.flags) & W) and not slot.flags & os.O_PATH

    def text(self):
        return encode(self.random.choice([b"text", b"line\n" * 10, b"#!/bin/sh\necho new\n", b"y" * 100, b"z"]))

    def write_some(self, actor):
        number, _ = self.slot(actor, self.writable_slot)
        if self.chance(0.5):
            self.emit(actor, "pwrite", number, self.text(), self.random.choice([0, 3, 4096, 100000]))
        else:
            self.emit(actor, "write", number, self.text())

    def truncate(self, actor):
        size = self.random.choice([0, 1, 50, 5000, 100000])
        if self.chance(0.4):
            number, _ = self.slot(actor, self.writable_slot)
            if self.chance(0.3):
                self.emit(actor, "fallocate", number, self.random.choice([0, 1, 3]), 10, 5000)
            else:
                self.emit(actor, "ftruncate", number, size)
        elif self.chance(0.2):
            path, _ = self.slot_path(actor, lambda s: s.node.kind == "file" and actor.may(s.node, W))
            self.emit(actor, "truncate", path, size)
        else:
            node = self.node(actor, "file", "link", wish=lambda n: self.reachable(actor)(n) and actor.may(n, W))
            self.emit(actor, "truncate", self.plain(actor, self.place_of(node)), size)

    def owned(self, actor):
        return lambda n: self.reachable(actor)(n) and actor.owns(n)

    def changeable_slot(self, actor, wish):
        """Not of a directory opened with O_PATH: the known limit about these would leave the two trees different."""
        number, slot = self.slot(actor, lambda s: wish(s) and not s.flags & os.O_PATH)
        if slot is not None and slot.node.kind == "dir" and slot.flags & os.O_PATH:
            return 31, None
        return number, slot

    def changeable_path(self, actor):
        path, slot = self.slot_path(actor, lambda s: actor.owns(s.node) and not s.flags & os.O_PATH)
        if slot is not None and slot.node.kind == "dir" and slot.flags & os.O_PATH:
            return "/proc/self/fd/231", None
        return path, slot

    def change_mode(self, actor):
        mode = self.random.choice(MODES)
        number, slot = self.changeable_slot(actor, lambda s: actor.owns(s.node))
        way = self.random.random()
        node = self.node(actor, wish=self.owned(actor))
        if way < 0.3:
            self.emit(actor, "fchmod", number, octal(mode))
            node = slot.node if slot is not None and not slot.flags & os.O_PATH else None
        elif way < 0.5:
            self.emit(actor, "chmod", self.plain(actor, self.place_of(node)), octal(mode))
        elif way < 0.7:
            self.emit(actor, "fchmodat", *self.at(actor, self.place_of(node)), octal(mode))
        elif way < 0.8:
            self.emit(actor, "fchmodat2", number, "%", octal(mode), hex(AT_EMPTY_PATH))
            node = slot.node if slot is not None else None
        elif way < 0.9:
            path, slot = self.changeable_path(actor)
            self.emit(actor, "chmod", path, octal(mode))
            node = slot.node if slot is not None else None
        else:
            self.emit(actor, "fchmodat2", *self.at(actor, self.place_of(node)), octal(mode), self.random.choice([0, hex(AT_NOFOLLOW)]))
        if node is not None and node.kind != "link" and self.owned(actor)(node):
            node.mode = mode

    def change_owner(self, actor):
        uid = self.random.choice([-1, -1, actor.uid, 1000, 0])
        gid = self.random.choice([-1, actor.gid, *actor.groups, 1000])
        number, slot = self.changeable_slot(actor, lambda s: actor.owns(s.node))
        node = self.node(actor, wish=self.owned(actor))
        way = self.random.random()
        if way < 0.3:
            self.emit(actor, "fchown", number, uid, gid)
            node = slot.node if slot is not None else None
        elif way < 0.5:
            self.emit(actor, self.random.choice(["chown", "lchown"]), self.plain(actor, self.place_of(node)), uid, gid)
        elif way < 0.6:
            self.emit(actor, "fchownat", number, "%", uid, gid, hex(AT_EMPTY_PATH))
            node = slot.node if slot is not None else None
        elif way < 0.65:
            path, slot = self.changeable_path(actor)
            self.emit(actor, "chown", path, uid, gid)
            node = slot.node if slot is not None else None
        else:
            self.emit(actor, "fchownat", *self.at(actor, self.place_of(node)), uid, gid, self.random.choice([0, hex(AT_NOFOLLOW)]))
        if node is not None and actor.dac and actor.uid == 0:
            node.uid, node.gid = (node.uid if uid < 0 else uid), (node.gid if gid < 0 else gid)

    def times(self):
        one = self.random.choice(["now", "omit", "1234567890.123456789", "2222222222.5", "0.0"])
        return self.random.choice(["@", f"{one},{one}", f"omit,{one}", f"1111111111.1,{one}"])

    def change_times(self, actor):
        node = self.node(actor, wish=self.owned(actor))
        number, _ = self.changeable_slot(actor, lambda s: actor.owns(s.node))
        way = self.random.random()
        numbers = self.random.choice(["@", "1111111111.0,1234567890.0"])
        if way < 0.15:
            self.emit(actor, self.random.choice(["utime", "utimes"]), self.plain(actor, self.place_of(node)), numbers)
        elif way < 0.25:
            self.emit(actor, "futimesat", *self.at(actor, self.place_of(node)), numbers)
        elif way < 0.5:
            self.emit(actor, "utimensat", number, "@", self.times(), 0)
        elif way < 0.6:
            self.emit(actor, "utimensat", number, "%", self.times(), hex(AT_EMPTY_PATH))
        elif way < 0.65:
            self.emit(actor, "utimensat", "-", self.changeable_path(actor)[0], self.times(), 0)
        else:
            self.emit(actor, "utimensat", *self.at(actor, self.place_of(node)), self.times(), self.random.choice([0, hex(AT_NOFOLLOW)]))

    def xattr(self, node):
        r = self.random
        if r.random() < 0.12:
            name = r.choice(["system.posix_acl_access", "system.posix_acl_default"])
            return name, encode(acl(r.choice([1000, 1001]), r.choice([0, 4, 6, 7]), r.choice([0, 5, 7]), r.choice([0, 5])))
        name = r.choice(["user.first", "user.second", "user.third", "trusted.x", "security.mine", "user."])
        return name, encode(r.choice([b"", b"v", b"value", b"long" * 100]))

    def change_xattr(self, actor):
        node = self.node(actor, "file", "dir", wish=lambda n: self.reachable(actor)(n) and actor.may(n, W))
        number, slot = self.changeable_slot(actor, lambda s: actor.may(s.node, W))
        name, value = self.xattr(node)
        flags = self.random.choice([0, 0, 0, 1, 2])
        path = self.plain(actor, self.place_of(node))
        way = self.random.random()
        if way < 0.3:
            self.emit(actor, "setxattr", path, name, value, flags)
        elif way < 0.45:
            self.emit(actor, "lsetxattr", path, name, value, flags)
        elif way < 0.6:
            self.emit(actor, "fsetxattr", number, name, value, flags)
            node = slot.node if slot is not None else None
        elif way < 0.65:
            path, slot = self.changeable_path(actor)
            self.emit(actor, "setxattr", path, name, value, flags)
            node = slot.node if slot is not None else None
        elif way < 0.7:
            how = self.random.choice([0, hex(AT_NOFOLLOW)])
            self.emit(actor, "setxattrat", *self.at(actor, self.place_of(node)), how, name, value, flags)
        elif way < 0.75:
            self.emit(actor, "setxattrat", number, "%", hex(AT_EMPTY_PATH), name, value, flags)
            node = slot.node if slot is not None else None
        else:
            name = self.random.choice(sorted(node.xattrs) or [name])
            if way < 0.8:
                how = self.random.choice([0, hex(AT_NOFOLLOW)])
                self.emit(actor, "removexattrat", *self.at(actor, self.place_of(node)), how, name)
            elif way < 0.9:
                self.emit(actor, self.random.choice(["removexattr", "lremovexattr"]), path, name)
            else:
                self.emit(actor, "fremovexattr", number, name)
            node.xattrs.discard(name)
            return
        if node is not None:
            node.xattrs.add(name)

    def map_file(self, actor):
        number, slot = self.slot(actor, lambda s: s.node.kind == "file" and opened_for(s.flags) & R and not s.flags & os.O_PATH)
        maps = actor.process.maps
        way = self.random.random()
        if maps and way < 0.4:
            self.emit(actor, "mread", self.random.choice(sorted(maps)))
        elif maps and way < 0.6:
            self.emit(actor, "mwrite", self.random.choice(sorted(maps)), "mapped")
        else:
            which = self.random.randrange(8)
            writable = 1 if slot is not None and opened_for(slot.flags) == R | W else 0
            self.emit(actor, "mmap", which, number, writable)
            if slot is not None:
                maps[which] = slot.node

    def lock(self, actor):
        number, slot = self.slot(actor, lambda s: s.node.kind == "file" and not s.flags & os.O_PATH)
        if self.chance(0.5):
            self.emit(actor, "flock", number, self.random.choice([1 | 4, 2 | 4, 8]))
        else:
            kind = self.random.choice([0, 1, 2])
            self.emit(actor, self.random.choice(["setlk", "setofd"]), number, kind, self.random.choice([0, 10]), self.random.choice([0, 5]))

    def copy(self, actor):
        first, _ = self.slot(actor, lambda s: s.node.kind == "file" and opened_for(s.flags) & R)
        second, _ = self.slot(actor, self.writable_slot)
        self.emit(actor, "copyrange", first, second, self.random.choice([10, 5000]))

    def hand_over(self, actor):
        other = self.choose_actor()
        number, slot = self.slot(actor)
        if slot is None or other.process is actor.process:
            return
        new = self.free_slot(other)
        self.emit(actor, "sendfd", number, other.number)
        self.emit(other, "recvfd", new)
        other.process.slots[new] = slot

    def duplicate(self, actor):
        number, slot = self.slot(actor)
        new = self.free_slot(actor)
        self.emit(actor, "dup", new, number)
        if slot is not None:
            actor.process.slots[new] = slot

    def change_flags(self, actor):
        number, _ = self.changeable_slot(actor, lambda s: actor.owns(s.node) and s.node.kind in ("file", "dir"))
        self.emit(actor, "setflags", number, self.random.choice([0, 0x40, 0x80, 0xC0]))
