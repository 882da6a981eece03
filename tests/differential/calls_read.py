"""Calls that only look."""
import os

from model import R, X, opened_for

AT_EMPTY_PATH, AT_NOFOLLOW, AT_EACCESS = 0x1000, 0x100, 0x200
IN_ALL = 0x00000fff
IN_INTERESTING = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400  # MODIFY ATTRIB MOVED_FROM MOVED_TO CREATE DELETE DELETE_SELF


class ReadCalls:
    def read_calls(self):
        return [(12, self.look), (4, self.look_by_slot), (5, self.access), (4, self.read_link), (7, self.read_names), (5, self.read_content),
                (5, self.read_some), (5, self.read_xattrs), (5, self.execute), (3, self.watch), (2, self.flags)]

    def look(self, actor):
        node = self.node(actor, wish=self.reachable(actor))
        place = self.place_of(node) if self.chance(0.9) else self.new_place(actor)
        way = self.random.random()
        flags = self.random.choice([0, hex(AT_NOFOLLOW)])
        if way < 0.3:
            self.emit(actor, self.random.choice(["stat", "lstat"]), self.plain(actor, place))
        elif way < 0.6:
            self.emit(actor, "fstatat", *self.at(actor, place), flags)
        else:
            self.emit(actor, "statx", *self.at(actor, place), flags)

    def look_by_slot(self, actor):
        number, _ = self.slot(actor)
        way = self.random.random()
        if way < 0.5:
            self.emit(actor, "fstat", number)
        elif way < 0.75:
            self.emit(actor, self.random.choice(["statx", "fstatat"]), number, "%", hex(AT_EMPTY_PATH))
        else:
            self.emit(actor, "stat", self.slot_path(actor)[0])

    def access(self, actor):
        node = self.node(actor, wish=self.reachable(actor))
        mode = self.random.choice([0, 1, 2, 2, 4, 6, 7, 3])
        place = self.place_of(node)
        way = self.random.random()
        if self.chance(0.25):
            self.access_by_slot(actor, mode)
        elif way < 0.3:
            self.emit(actor, "access", self.plain(actor, place), mode)
        elif way < 0.5:
            self.emit(actor, "faccessat", *self.at(actor, place), mode)
        else:
            self.emit(actor, "faccessat2", *self.at(actor, place), mode, self.random.choice([0, hex(AT_EACCESS), hex(AT_NOFOLLOW)]))

    def access_by_slot(self, actor, mode):
        number, _ = self.slot(actor)
        if self.chance(0.5):
            self.emit(actor, "faccessat2", number, "%", mode, self.random.choice([hex(AT_EMPTY_PATH), hex(AT_EMPTY_PATH | AT_EACCESS)]))
        else:
            self.emit(actor, "access", self.slot_path(actor)[0], mode)

    def read_link(self, actor):
        node = self.node(actor, "link", wish=self.reachable(actor))
        if self.chance(0.3):
            number, slot = self.slot(actor)
            if slot is not None and slot.node.alive:
                self.emit(actor, "readlink", f"/proc/self/fd/{200 + number}")
                return
        if self.chance(0.4):
            self.emit(actor, "readlink", self.plain(actor, self.place_of(node)))
        else:
            self.emit(actor, "readlinkat", *self.at(actor, self.place_of(node)))

    def read_names(self, actor):
        number, slot = self.slot(actor, lambda s: s.node.kind == "dir" and not s.flags & os.O_PATH)
        if slot is None:
            return
        way = self.random.random()
        if way < 0.35:
            self.emit(actor, "readdir", number, self.random.choice([1, 2, 3, 5]))
        elif way < 0.65:
            self.emit(actor, "lseek", number, 0, 0)
            self.emit(actor, "readdir", number, 1000)
        elif way < 0.8:
            self.emit(actor, "tell", number, number % 16)
        else:
            self.emit(actor, "seek", number, number % 16)
            self.emit(actor, "readdir", number, 2)

    def read_content(self, actor):
        node = self.node(actor, "file", "file", "link", wish=lambda n: self.reachable(actor)(n) and actor.may(n, R))
        self.emit(actor, "content", self.plain(actor, self.place_of(node)))

    def read_some(self, actor):
        number, _ = self.slot(actor, lambda s: s.node.kind == "file" and opened_for(s.flags) & R)
        if self.chance(0.5):
            self.emit(actor, "pread", number, self.random.choice([10, 5000, 200000]), self.random.choice([0, 2, 4000]))
        else:
            self.emit(actor, "read", number, self.random.choice([10, 5000]))

    def read_xattrs(self, actor):
        node = self.node(actor, wish=self.reachable(actor))
        path = self.plain(actor, self.place_of(node))
        name = self.random.choice(["user.first", "user.second", "system.posix_acl_access", "trusted.cowrun.graft", "user.none"])
        number, _ = self.slot(actor)
        way = self.random.random()
        if way < 0.3:
            self.emit(actor, self.random.choice(["getxattr", "lgetxattr"]), path, name)
        elif way < 0.7:
            self.emit(actor, self.random.choice(["listxattr", "llistxattr"]), path)
        elif way < 0.8:
            self.emit(actor, "fgetxattr", number, name)
        elif way < 0.85:
            self.emit(actor, "getxattr", self.slot_path(actor)[0], name)
        else:
            self.emit(actor, "flistxattr", number)

    def execute(self, actor):
        node = self.node(actor, "file", wish=lambda n: n.runs and self.reachable(actor)(n) and actor.may(n, X))
        place = self.place_of(node)
        number, slot = self.slot(actor, lambda s: s.node.runs)
        if slot is not None and self.chance(0.3):
            self.emit(actor, "exec", number, "%", hex(AT_EMPTY_PATH))
        elif slot is not None and self.chance(0.1):
            self.emit(actor, "exec", "-", self.slot_path(actor, lambda s: s.node.runs)[0], 0)
        else:
            self.emit(actor, "exec", *self.at(actor, place), 0)

    def watch(self, actor):
        watches = getattr(self, "watches", [])
        if watches and self.chance(0.6):
            process, slot = self.random.choice(watches)
            mine = [a for a in self.actors if a.process is process]
            self.emit(self.random.choice(mine), "events", slot)
            return
        node = self.node(actor, "dir", "dir", "file", wish=lambda n: self.reachable(actor)(n) and actor.may(n, R))
        slot = 24 + self.random.randrange(6)
        self.emit(actor, "watch", slot, self.plain(actor, self.place_of(node)), hex(IN_INTERESTING))
        self.watches = watches + [(actor.process, slot)]

    def flags(self, actor):
        number, _ = self.slot(actor)
        self.emit(actor, self.random.choice(["getfl", "getfd"]), number)
