"""One place in the tree, written in the many ways in which a program may write it."""
from tree import encode

FIRST_FD = 200


class Paths:
    def __init__(self, random, world):
        self.random = random
        self.world = world
        self.actors = []  # all of them; the program's own list

    def relative(self, base, names):
        """From a directory to names below the top; None if it cannot be said."""
        here = self.world.components(base)
        if here is None:
            return None
        common = 0
        while common < min(len(here), len(names)) and here[common] == names[common]:
            common += 1
        if len(here) - common > 6:
            return None
        words = [b".."] * (len(here) - common) + names[common:]
        return b"/".join(words) or b"."

    def absolute(self, actor, names):
        root = actor.files.root
        if root is None:
            return b"/".join([b"/work"] + names)
        below = self.relative(root, names)
        return None if below is None or below.startswith(b"..") else b"/" + below

    def through_link(self, actor, names):
        """By a symbolic link to a directory above."""
        links = [n for n in self.world.alive("link")]
        for link in self.random.sample(links, min(len(links), 4)):
            directory, name = link.names[0]
            goal = self.world.lookup(directory, link.target)
            place = self.world.components(directory)
            if goal is None or goal.kind != "dir" or place is None or actor.files.root is not None:
                continue
            rest = self.relative(goal, names)
            if rest is not None and not rest.startswith(b".."):
                return b"/".join([b"/work"] + place + [name, rest])
        return None

    def handle(self, actor, names):
        """(slot, path), relative to an open directory."""
        slots = [(n, s) for n, s in actor.process.slots.items() if s.node.kind == "dir" and s.node.alive]
        for number, slot in self.random.sample(slots, min(len(slots), 3)):
            path = self.relative(slot.node, names)
            if path is not None:
                return number, path
        return None

    def by_another(self, names):
        """Through the working directory or a handle of some process."""
        other = self.random.choice(self.actors)
        found = self.handle(other, names) if self.random.random() < 0.5 else None
        if found is not None:
            return f"/proc/@{other.number}/fd/{FIRST_FD + found[0]}/{encode(found[1])}"
        path = self.relative(other.files.cwd, names)
        return None if path is None else f"/proc/@{other.number}/cwd/{encode(path)}"

    def decorate(self, path):
        r = self.random
        if r.random() < 0.85 or not path:
            return path
        words = path.split(b"/")
        at = r.randrange(len(words))
        how = r.randrange(4)
        if how == 0 and (at > 0 or not path.startswith(b"/")):
            words.insert(at, b".")
        elif how == 1 and at > 0:
            words.insert(at, b"")
        elif how == 2:
            words.append(b"")
        elif how == 3 and 1 < at < len(words) and words[at - 1] not in (b"", b".", b".."):
            words[at:at] = [b"..", words[at - 1]]
        return b"/".join(words)

    def names_of(self, place):
        directory, name = place
        names = self.world.components(directory)
        if names is None:
            return None
        return names + [name] if name else names

    def write(self, actor, place, handles=True):
        """(directory, path) for (directory node, name): words of a call. A name of b"" is the directory itself."""
        names = self.names_of(place)
        if names is None:
            return "-", encode(b"/work/gone")
        r = self.random
        for _ in range(6):
            way = r.random()
            if way < 0.35 and handles:
                found = self.handle(actor, names)
                if found is not None:
                    return str(found[0]), encode(self.decorate(found[1]))
            elif way < 0.5:
                path = self.relative(actor.files.cwd, names)
                if path is not None:
                    return "-", encode(self.decorate(path))
            elif way < 0.6:
                path = self.through_link(actor, names)
                if path is not None:
                    return "-", encode(path)
            elif way < 0.66:
                found = self.handle(actor, names)
                if found is not None and actor.files.root is None:
                    base = r.choice([b"/proc/self/fd/%d/", b"/dev/fd/%d/", b"/proc/thread-self/fd/%d/"])
                    return "-", encode(base % (FIRST_FD + found[0]) + found[1])
            elif way < 0.69 and actor.files.root is None:
                path = self.relative(actor.files.cwd, names)
                if path is not None:
                    return "-", encode(b"/proc/self/cwd/" + path)
            elif way < 0.71 and actor.files.root is None:
                path = self.by_another(names)
                if path is not None:
                    return "-", path
            else:
                path = self.absolute(actor, names)
                if path is not None:
                    return "-", encode(self.decorate(path))
        path = self.absolute(actor, names)
        return "-", encode(path if path is not None else b"/nowhere")
