"""Makes a divergence short: fewer calls (ddmin, Zeller and Hildebrandt), then a smaller tree."""
import time
from dataclasses import replace


class Shrinker:
    def __init__(self, bench, case, divergence, seconds):
        self.bench, self.case, self.divergence = bench, case, divergence
        self.end = time.monotonic() + seconds
        self.kind = self.kind_of(case, divergence)

    def kind_of(self, case, divergence):
        """Another divergence is another matter: the call's name and whether it was the results that differed."""
        if divergence.at < 0:
            return divergence.what
        return case.calls[divergence.at].split()[1], divergence.plain.split()[:1], divergence.branch.split()[:1]

    def late(self):
        return time.monotonic() > self.end

    def still(self, calls, entries):
        case = replace(self.case, calls=calls, entries=entries)
        found = self.bench.run(case).divergence
        if found is None or self.kind_of(case, found) != self.kind:
            return False
        self.case, self.divergence = case, found
        return True

    def reduce(self, items, attempt):
        """ddmin's second half: takes pieces away for as long as that goes, each time smaller ones. items(): what is left."""
        size = max(1, len(items()) // 2)
        while items() and not self.late():
            at, shorter = 0, False
            while at < len(items()) and not self.late():
                if attempt(items()[:at] + items()[at + size:]):
                    shorter = True
                else:
                    at += size
            if size == 1 and not shorter:
                return
            size = max(1, size // 2)

    def shrink_calls(self):
        if self.divergence.at >= 0:
            self.still(self.case.calls[:self.divergence.at + 1], self.case.entries)
        self.reduce(lambda: self.case.calls, lambda calls: self.still(calls, self.case.entries))

    def shrink_tree(self):
        top, below = self.case.entries[:1], lambda: self.case.entries[1:]
        named = " ".join(self.case.calls)
        keep = [e for e in below() if e.line().split()[1].rsplit("/", 1)[-1] in named or e.kind == "dir"]
        self.still(self.case.calls, closed(top + keep))
        self.reduce(below, lambda entries: self.still(self.case.calls, closed(top + entries)))

    def shrink(self):
        self.shrink_calls()
        self.shrink_tree()
        self.shrink_calls()
        return self.case, self.divergence


def closed(entries):
    """Without what has lost its directory or the file that it is a name of."""
    kept, paths = [], set()
    for entry in entries:
        parent = entry.path.rpartition(b"/")[0]
        if entry.path and parent not in paths or entry.kind == "hard" and entry.values["target"] not in paths:
            continue
        paths.add(entry.path)
        kept.append(entry)
    return kept
