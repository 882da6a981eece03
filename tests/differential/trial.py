"""One trial: a tree and a program, in a plain copy and in a branch; what differs."""
import copy
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader

import tree
from compare import Correspondence, words_differ
from descriptors import Descriptors
from limits import excuse, goes_through_handle, left_out, spoils, writes_astray

HERE = os.path.dirname(os.path.abspath(__file__))
loader = SourceFileLoader("listing", os.path.join(HERE, "..", "e2e", "listing"))
listing = importlib.util.module_from_spec(importlib.util.spec_from_loader("listing", loader))
loader.exec_module(listing)


@dataclass
class Case:
    """What a trial is made of, and what a shrunk divergence is written down as."""
    entries: list
    calls: list
    user: str = "root"

    def text(self):
        lines = [f"user {self.user}"] + [entry.line() for entry in self.entries] + ["calls"] + self.calls
        return "\n".join(lines) + "\n"

    @staticmethod
    def read(text):
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        start = lines.index("calls")
        return Case([tree.Entry.parse(line) for line in lines[1:start]], lines[start + 1:], lines[0].split()[1])


@dataclass
class Divergence:
    what: str
    at: int  # the call's number, or -1: the trees
    plain: str = ""
    branch: str = ""

    def __str__(self):
        return f"{self.what}\n  plain:  {self.plain}\n  branch: {self.branch}"


@dataclass
class Outcome:
    divergence: Divergence = None
    excused: dict = None  # reasons and how often
    results: list = None  # (call, did it succeed)


class Bench:
    """The place where trials are run. plain_both: the plain copy against itself, to test the tester. show: print all results."""

    def __init__(self, directory, play, plain_both=False, show=False):
        self.directory, self.play, self.plain_both, self.show = directory, play, plain_both, show
        self.count = 0

    def setup(self):
        subprocess.run([os.path.join(HERE, "container"), "setup"], check=True)
        for name in ("t", "share"):
            os.makedirs(os.path.join(self.directory, name), exist_ok=True)
        shutil.copy(self.play, os.path.join(self.directory, "share", "play"))

    def start(self, kind, name, where, user):
        environment = dict(os.environ, CONTAINER_USER={"root": "0:0", "user": "1000:1000"}[user])
        return subprocess.Popen([os.path.join(HERE, "container"), kind, f"{kind}{name}", where, "/t/play", f"/t/{name}", "/work"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)

    def walk(self, top):
        done = subprocess.run([self.play, "--walk", top], check=True, capture_output=True, encoding="latin-1")
        return [line.split() for line in done.stdout.splitlines()]

    def run(self, case):
        self.count += 1
        name = f"d{self.count}"
        top = os.path.join(self.directory, "t", name)
        os.makedirs(top)
        program = os.path.join(self.directory, "share", name)
        with open(program, "w", encoding="ascii") as file:
            file.write("\n".join(case.calls) + "\n")
        try:
            return Trial(self, case, name, top).run()
        finally:
            os.unlink(program)
            shutil.rmtree(top)
            for kind in ("plain", "branch"):
                shutil.rmtree(os.path.join(self.directory, "t", kind + name), ignore_errors=True)


class Trial:
    def __init__(self, bench, case, name, top):
        self.bench, self.case, self.name = bench, case, name
        self.plain, self.lower = os.path.join(top, "plain"), os.path.join(top, "lower")
        self.excused = {}
        self.results = []
        self.spoilt = False  # by an excused answer: the rest is not compared

    def run(self):
        for where in (self.plain, self.lower):
            tree.make(where, self.case.entries, self.bench.play)
        self.known = Correspondence(self.bench.walk(self.plain), self.bench.walk(self.lower))
        before = list_tree(self.lower)
        kinds = ("plain", "plain") if self.bench.plain_both else ("plain", "branch")
        runs = [self.bench.start(kind, name, where, self.case.user) for kind, name, where in
                zip(kinds, (self.name, self.name), (self.plain, self.lower))] if not self.bench.plain_both else self.both_plain()
        outputs = [run.communicate()[0].decode("latin-1").splitlines() for run in runs]
        if self.bench.show:
            self.show(*outputs)
        found = self.compare_calls(*outputs)
        if self.bench.plain_both:
            return Outcome(found, self.excused, self.results)
        found = found or self.compare_lower(before)
        if found is None and not self.spoilt:
            found = self.commit()
        else:
            self.branch_command("discard")
        return Outcome(found, self.excused, self.results)

    def both_plain(self):
        runs = [self.bench.start("plain", self.name, self.plain, self.case.user)]
        os.link(os.path.join(self.bench.directory, "share", self.name), os.path.join(self.bench.directory, "share", self.name + "b"))
        runs.append(self.bench.start("plain", self.name + "b", self.lower, self.case.user))
        return runs

    def compare_calls(self, plain, branch):
        pairs = [(self.result(plain, number), self.result(branch, number)) for number in range(len(self.case.calls))]
        trees = [[line.split() for line in output if line.startswith("tree ")] for output in (plain, branch)]
        by_path = {line[1]: line for line in trees[1]}
        self.known.descriptors = Descriptors()
        self.known.look_ahead(pairs + [(line, by_path.get(line[1], [])) for line in trees[0]], trees[0])
        for number, (call, (a, b)) in enumerate(zip(self.case.calls, pairs)):
            self.results.append((call.split()[1], "ok" in a))
            if a == b == ["hangs"]:  # a FIFO that nobody else opens: the program ends here
                self.spoilt = True
                return None
            found = self.judge(call.split(), f"call {number}: {call}", number, a, b)
            self.known.descriptors.advance(call.split(), a)
            self.spoilt = self.spoilt or writes_astray(call.split(), self.known)
            if found is not None or self.spoilt:
                return found
        return self.compare_trees(*trees, "the tree in the container")

    def show(self, plain, branch):
        """Both results of every call, to look at a case."""
        for number, call in enumerate(self.case.calls):
            a, b = (" ".join(self.result(lines, number)) for lines in (plain, branch))
            print(f"# {call}\n#   {a}\n#   {b}" if a != b else f"# {call}\n#   both: {a}")

    def result(self, lines, number):
        head = f"call {number} "
        if number < len(lines) and lines[number].startswith(head):
            return re.sub("/proc/[0-9]+/", "/proc/N/", lines[number][len(head):]).split()
        return ["missing:"] + " / ".join(lines[number:number + 3]).split()

    def judge(self, call, what, number, plain, branch):
        known = copy.deepcopy(self.known)
        if not words_differ(self.known, plain, branch):
            if goes_through_handle(call) and self.known.now != known.now:
                # A directory that is not known yet may be one that only stands for it (graft/place.c): nothing to go by.
                self.known = known
                self.spoilt = call[1].startswith("open")
            return None
        self.known = known  # what an excused answer says of inodes is nothing to go by
        reason = excuse(call, plain, branch, self.known)
        if reason is None:
            return Divergence(what, number, " ".join(plain), " ".join(branch))
        self.excused[reason] = self.excused.get(reason, 0) + 1
        self.spoilt = spoils(call, plain, branch)
        return None

    def compare_trees(self, plain, branch, what):
        other = {line[1]: line for line in branch}
        if not plain:
            return Divergence(what, -1, "none", "")
        for line in plain:
            there = other.pop(line[1], None)
            if there is None:
                return Divergence(what, -1, " ".join(line), "not there")
            found = self.judge(line[:1] * 2, what, -1, line, there)
            if found is not None:
                return found
        for line in other.values():
            return Divergence(what, -1, "not there", " ".join(line))
        return None

    def compare_lower(self, before):
        after = list_tree(self.lower)
        if after == before:
            return None
        changed = sorted(set(before) ^ set(after))
        return Divergence("the lower was changed", -1, "", changed[0])

    def branch_command(self, *words):
        return subprocess.run([os.path.join(HERE, "container"), "command", *words, "branch" + self.name], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", check=False)

    def commit(self):
        shown = self.branch_command("diff", "--name-status")
        done = self.branch_command("commit")
        if done.returncode != 0:
            self.branch_command("discard")
            return Divergence("commit", -1, "", done.stdout)
        # The commit makes inodes of its own: what is one file must still be one.
        plain, lower = ([line for line in self.bench.walk(top) if not left_out(line)] for top in (self.plain, self.lower))
        self.known = Correspondence([], [])
        self.known.descriptors, self.known.committed, self.known.nothing = Descriptors(), True, shown.stdout == ""
        return self.compare_trees(plain, lower, "the lower after the commit")


def list_tree(top):
    """tests/e2e/listing, which prints, as a list."""
    lines = []
    walk(os.fsencode(top), b"", lines)
    return lines


def walk(top, below, lines):
    here = os.path.join(top, below).rstrip(b"/")
    lines.append(listing.line(here, below or b"."))
    if os.path.isdir(here) and not os.path.islink(here):
        for name in sorted(os.listdir(here)):
            walk(top, os.path.join(below, name), lines)
