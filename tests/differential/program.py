"""Random programs: actors and what they call. A program is a list of lines (tests/differential/play/play.h)."""
from calls_content import ContentCalls
from calls_names import NameCalls
from calls_read import ReadCalls
from model import Actor, Files, Process, World
from paths import Paths
from tree import ODD_NAMES


class Program(NameCalls, ContentCalls, ReadCalls):
    """Writes calls and keeps the model of the world up to date. The families of calls are mixed in."""

    def __init__(self, random, entries, user):
        self.random = random
        self.world = World(entries)
        self.paths = Paths(random, self.world)
        self.user = user
        uid = 1000 if user == "user" else 0
        self.actors = [Actor(0, Process(), Files(self.world.top), uid=uid, gid=uid, dac=uid == 0)]
        self.paths.actors = self.actors
        self.lines = []
        self.fresh = 0

    def emit(self, actor, name, *words):
        self.lines.append(" ".join([str(actor.number), name, *(str(word) for word in words)]))

    # --- choosing ---

    def choose_actor(self):
        return self.random.choice(self.actors)

    def chance(self, p):
        return self.random.random() < p

    def node(self, actor, *kinds, wish=None):
        """Something that is there; mostly something for which wish() is true."""
        nodes = self.world.alive(*kinds) or [self.world.top]
        if wish is not None and self.chance(0.8):
            nodes = [n for n in nodes if wish(n)] or nodes
        return self.random.choice(nodes)

    def place_of(self, node):
        if node is self.world.top or not node.names:
            return node if node.kind == "dir" else self.world.top, b""
        return self.random.choice(node.names)

    def reachable(self, actor):
        return lambda n: n is self.world.top or (bool(n.names) and actor.reaches(n.names[0][0]))

    def directory(self, actor, bits=0):
        return self.node(actor, "dir", wish=lambda n: actor.reaches(n) and actor.may(n, bits))

    def new_name(self):
        self.fresh += 1
        if self.chance(0.1):
            return self.random.choice(ODD_NAMES)
        return b"new%d" % self.fresh if self.chance(0.8) else self.random.choice([b"a", b"b", b"lib", b"src"])

    def new_place(self, actor):
        """A directory, mostly one that may be written to, and a name that mostly is not there."""
        directory = self.directory(actor, 3)
        return directory, self.new_name()

    def free_slot(self, actor):
        free = [n for n in range(24) if n not in actor.process.slots]
        return self.random.choice(free) if free else self.random.randrange(24)

    def slot(self, actor, wish=lambda s: True):
        slots = [(n, s) for n, s in actor.process.slots.items() if wish(s)]
        if not slots or self.chance(0.05):
            return self.random.randrange(24), None
        return self.random.choice(slots)

    def slot_path(self, actor, wish=lambda s: True):
        """A slot's path in /proc; sometimes of another process's."""
        others = [a for a in self.actors if a.process is not actor.process]
        if others and self.chance(0.2):
            other = self.random.choice(others)
            number, slot = self.slot(other, wish)
            return f"/proc/@{other.number}/fd/{200 + number}", slot
        number, slot = self.slot(actor, wish)
        return f"/proc/self/fd/{200 + number}", slot

    def at(self, actor, place):
        return self.paths.write(actor, place)

    def plain(self, actor, place):
        return self.paths.write(actor, place, handles=False)[1]

    # --- actors ---

    def start_actors(self):
        r = self.random
        zero = self.actors[0]
        for number in range(1, r.randrange(3, 6)):
            parent = r.choice(self.actors)
            threaded = self.chance(0.4)
            self.emit(parent, "thread" if threaded else "spawn", number)
            if threaded:
                child = Actor(number, parent.process, parent.files)
            else:
                process = Process(dict(parent.process.slots), dict(parent.process.maps))
                child = Actor(number, process, Files(parent.files.cwd, umask=parent.files.umask))
            child.uid, child.gid, child.groups, child.dac = parent.uid, parent.gid, parent.groups, parent.dac
            self.actors.append(child)
            if self.chance(0.7) and zero.uid == 0 and child.uid == 0:
                self.become(child)

    def become(self, actor):
        uid = self.random.choice([1000, 1000, 1001, 0])
        gid = self.random.choice([uid, 1000, 0])
        groups = tuple(g for g in (0, 1000, 1001) if self.chance(0.3))
        self.emit(actor, "become", uid, gid, ",".join(map(str, groups)) or "%")
        actor.uid, actor.gid, actor.groups = uid, gid, groups
        if uid == 0 and self.chance(0.5):
            for capability in self.random.choice([(1, 2), (1,), (3,), (0, 1, 2, 3, 4)]):
                self.emit(actor, "uncap", capability)
            actor.dac = False
        else:
            actor.dac = uid == 0

    def leave_root(self):
        """An actor that lives below a root of its own from here on."""
        number = len(self.actors)
        if number > 7 or self.user != "root":
            return
        directory = self.node(self.actors[0], "dir")
        self.emit(self.actors[0], "spawn", number)
        parent = self.actors[0]
        actor = Actor(number, Process(dict(parent.process.slots)), Files(parent.files.cwd))
        self.emit(actor, "chroot", self.plain(actor, self.place_of(directory)))
        self.emit(actor, "chdir", "/")
        actor.files.root = actor.files.cwd = directory
        if self.chance(0.5):
            self.become(actor)
        self.actors.append(actor)

    # --- the whole ---

    def write(self, count):
        self.start_actors()
        calls = self.name_calls() + self.content_calls() + self.read_calls()
        weights = [weight for weight, _ in calls]
        while len(self.lines) < count:
            actor = self.choose_actor()
            _, call = self.random.choices(calls, weights)[0]
            call(actor)
            if len(self.lines) == count // 2 and self.chance(0.5):
                self.leave_root()
        return self.lines
