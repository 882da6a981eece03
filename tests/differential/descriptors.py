"""Who holds which open file description? Followed from the program's calls and their plain results, for limits that are about
descriptors: which were opened by O_PATH, and which are shared between processes."""
import os
import re

from compare import number, tagged

FIRST_FD = 200
NUMBER = re.compile("(?:/proc/(?:self|thread-self|@([0-9]))/fd|/dev/fd)/([0-9]+)")
# The call's words that name a slot, by position after its name; calls on paths alone have none.
SLOTS = {
    "openat": [1], "openat2": [1], "dup": [1], "sendfd": [0], "mkdirat": [0], "mknodat": [0], "unlinkat": [0], "renameat": [0, 2],
    "renameat2": [0, 2], "linkat": [0, 2], "symlinkat": [1], "mmap": [1], "copyrange": [0, 1], "exec": [0], "readlinkat": [0],
}
ON_SLOT = re.compile("f(stat|chmod|chown|chdir|allocate|truncate|lock|setxattr|removexattr|listxattr|getxattr|statat|chmodat2?|chownat|"
                     "utimesat|accessat2?)|utimensat|setxattrat|removexattrat|statx|readdir|seek|tell|lseek|close|read|pread|write|"
                     "pwrite|getfl|getfd|setlk|setofd|setflags")


class Description:
    def __init__(self, inode, flags):
        self.inode, self.flags = inode, flags
        self.holders = set()  # (process, slot) that have or had it
        self.astray = False  # its position is another one in the branch: old content was read by it

    def is_path_only(self):
        return self.flags & os.O_PATH != 0


class Descriptors:
    def __init__(self):
        self.process = {0: 0}  # of an actor; a process is named by its first
        self.slots = {0: {}}
        self.on_the_way = {}  # sent to an actor, not received yet
        self.gone_to = {}  # of a process: by which description it came to its working directory

    def at(self, actor, slot):
        return self.slots[self.process.get(actor, 0)].get(slot)

    def named(self, call):
        """The descriptions that a call names, by slot or by path. The entry of a tree at the end names none."""
        if not call[0].isdigit():
            return []
        actor, words = int(call[0]), call[2:]
        places = SLOTS.get(call[1], [0] if ON_SLOT.fullmatch(call[1]) else [])
        slots = [(actor, int(words[n])) for n in places if n < len(words) and words[n].isdigit()]
        slots += [(int(found.group(1) or actor), int(found.group(2)) - FIRST_FD) for found in map(NUMBER.match, words) if found]
        return [d for d in (self.at(*slot) for slot in slots) if d is not None]

    def hold(self, process, slot, description):
        self.slots[process][slot] = description
        description.holders.add((process, slot))

    def is_shared(self, description):
        """By several processes, or by several numbers of one that has threads."""
        processes = {process for process, _ in description.holders}
        return len(processes) > 1 or len(description.holders) > 1 and list(self.process.values()).count(min(processes)) > 1

    def all(self):
        return [description for slots in self.slots.values() for description in slots.values()]

    def advance(self, call, plain):
        """The call was made, and in the plain copy that was its result."""
        if plain[:1] != ["ok"]:
            return
        actor, name, words = int(call[0]), call[1], call[2:]
        process = self.process.get(actor, 0)
        if name == "thread":
            self.process[int(words[0])] = process
        elif name == "spawn":
            child = int(words[0])
            self.process[child], self.slots[child] = child, {}
            self.gone_to[child] = self.gone_to.get(process)
            for slot, description in self.slots[process].items():
                self.hold(child, slot, description)
        elif name.startswith("open") or name == "creat":
            flags = {"open": 2, "openat": 3, "openat2": 3}.get(name)
            self.hold(process, int(words[0]), Description(tagged(plain, "id="), number(words[flags]) if flags else os.O_WRONLY))
        elif name == "dup":
            self.copy(process, int(words[0]), self.at(actor, int(words[1])))
        elif name == "sendfd":
            self.on_the_way.setdefault(int(words[1]), []).append(self.at(actor, int(words[0])))
        elif name == "recvfd":
            queue = self.on_the_way.get(actor)
            self.copy(process, int(words[0]), queue.pop(0) if queue else None)
        elif name in ("chdir", "fchdir"):
            self.gone_to[process] = self.at(actor, int(words[0])) if name == "fchdir" else None
        elif name == "close":
            self.slots[process].pop(int(words[0]), None)

    def copy(self, process, slot, description):
        if description is not None:
            self.hold(process, slot, description)
        else:
            self.slots[process].pop(slot, None)
