"""Interleaved measurements and what is made of them.

The machine does other things too. So no engine is measured for long while the others wait: a container of each is there at
the same time, and each step is done by one after the other, in an order that rotates, and again for the next repetition.
Ratios are taken between neighbours, a sample and the limit's of the same round, and only then the median.
"""
import os
import re
import statistics
import sys
from dataclasses import dataclass, field

from engines import BenchError, Session


SAME = 1.05  # what of a difference between two engines is taken for noise


@dataclass
class Target:
    """At most `ratio` times the limit, `plus` milliseconds more than it, or `most` as it is. A "read" may not be slower than
    overlay."""

    ratio: float = 0
    plus: float = 0
    most: float = 0
    kind: str = ""


@dataclass
class Step:
    """One line of the table."""

    name: str
    command: str
    target: Target = None
    rounds: int = 1
    value: bool = False  # the command prints the figure itself, in nanoseconds
    before: str = ""  # not timed, before each round
    warm: bool = False  # the first round counts for nothing
    limit: str = ""  # another command for the limit


@dataclass
class Line:
    """Samples of a step: by engine, in nanoseconds; those of one index belong together."""

    part: str
    name: str
    target: Target
    unit: str = "ns"
    best: object = min  # of samples
    samples: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)  # why, by engine

    def add(self, engine, value):
        self.samples.setdefault(engine, []).append(value)

    def fail(self, engine, why):
        if engine not in self.failed:
            print(f"# {self.name}: {why}", file=sys.stderr, flush=True)
        self.failed[engine] = why

    def ratios(self, engine):
        return [a / b for a, b in zip(self.samples.get(engine, []), self.samples.get("plain", [])) if b > 0]

    def differences(self, engine):
        return [a - b for a, b in zip(self.samples.get(engine, []), self.samples["plain"])]

    def summary(self, engine):
        """Median, quartiles and best of the ratios; None if the engine has no samples."""
        ratios = self.ratios(engine)
        if not ratios:
            return None
        low, high = quartiles(ratios)
        return {"median": statistics.median(ratios), "low": low, "high": high,
                "best": self.best(self.samples[engine]) / max(self.best(self.samples["plain"]), 1e-9)}

    def verdicts(self):
        """What is promised of cowrun here: a list of (what, kept)."""
        mine = self.summary("cowrun")
        if "cowrun" in self.failed:
            return [("it failed", False)]
        if self.target is None or "cowrun" not in self.samples:
            return []
        if self.target.most:
            return [(f"at most {self.target.most:g} {self.unit}", statistics.median(self.samples["cowrun"]) <= self.target.most)]
        made = []
        if self.target.ratio:
            made.append((f"at most {self.target.ratio:g}", mine["median"] <= self.target.ratio))
        if self.target.plus:
            more = statistics.median(self.differences("cowrun")) / 1e6
            made.append((f"at most +{self.target.plus:g} ms, is {more:+.1f}", more <= self.target.plus))
        for other, wanted in (("fuse-overlayfs", True), ("overlay", self.target.kind == "read")):
            theirs = self.summary(other)
            if wanted and theirs is not None and self.target.kind != "alone":
                made.append((f"not slower than {other}", mine["median"] <= max(theirs["median"] * SAME, 1.02)))
        return made


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0]
    cut = statistics.quantiles(values, n=4, method="inclusive")
    return cut[0], cut[2]


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


class Group:
    """Steps that are done in the same containers, one after the other, on the same lower."""

    def __init__(self, part, lower, steps):
        self.part, self.lower, self.steps = part, lower, steps
        self.lines = [Line(part, s.name, s.target) for s in steps]

    def repeat(self, scratch, engines, repetition):
        sessions = []
        try:
            for engine in engines:
                sessions.append(Session(scratch, engine, self.lower))
            os.sync()  # of the copies that were just made: not while something is timed
            for number, (step, line) in enumerate(zip(self.steps, self.lines)):
                self.do(step, line, rotated(sessions, repetition + number), repetition)
        finally:
            for session in sessions:
                session.close()

    def do(self, step, line, sessions, repetition):
        for number in range(step.rounds + step.warm):
            index = f"{repetition}.{number}"
            for session in rotated(sessions, number):
                command = step.limit if step.limit and session.engine.title == "plain" else step.command
                try:
                    if step.before:
                        session.do(step.before.replace("{i}", index))
                    took = session.do(command.replace("{i}", index), step.value)
                except BenchError as error:
                    line.fail(session.engine.title, str(error))
                    continue
                if number > 0 or not step.warm:
                    line.add(session.engine.title, took)


def wanted(groups):
    """ONLY: the groups with a step of such a name, as far as that one: steps may need those before them."""
    pattern = os.environ.get("ONLY", "")
    for group in groups:
        last = max((i for i, step in enumerate(group.steps) if re.search(pattern, step.name)), default=None)
        if last is not None:
            yield Group(group.part, group.lower, group.steps[:last + 1])


def measure(scratch, engines, groups, repetitions, lines):
    """All groups, repetition by repetition."""
    for group in wanted(groups):
        lines += group.lines
        for repetition in range(repetitions):
            group.repeat(scratch, engines, repetition)
