"""Are two runs the same? A result is words; most must be equal, and these have rules of their own:

id=     which inode. A branch may give an inode of the lower one new number, once: when it is copied up or split. So each inode of
        the plain copy stands for one in the branch, or for two if it was there at the start; and none of those stands for two.
dev=    which device: one of the plain run stands for one of the branch's.
#N      the name of a file that never had one, socket:[N], pipe:[N]: the inode's number.
atime=  compared where neither side says "now": reading through a read-only mount moves no access time.
"""

import re

UNNAMED = re.compile(r"#\d+(?=%20\(deleted\))|(?<=:)#\d+$|(?<=:\[)\d+(?=\])")


class Correspondence:
    """Inodes of the plain run and what they are in the branch."""

    def __init__(self, plain, lower):
        """From the two trees before the run: lists of words, equal but for what is to be learnt."""
        self.now, self.before, self.owner, self.devices = {}, {}, {}, {}
        self.replaced = set()
        self.descriptors = None  # descriptors.py; set when the calls begin
        self.committed = False
        self.nothing = False  # there was nothing to commit
        for mine, theirs in zip(plain, lower):
            first, second = tagged(mine, "id="), tagged(theirs, "id=")
            if first and second:
                self.now[first] = second
                self.before[second] = first
                self.owner[second] = first

    def same_inode(self, plain, branch):
        if plain == branch == "id=?":
            return True
        known = self.now.get(plain)
        if known == branch:
            return True
        if branch in self.owner or (known is not None and self.before.get(known) != plain):
            return False
        self.now[plain] = branch
        self.owner[branch] = plain
        return True

    def same_device(self, plain, branch):
        return self.devices.setdefault(plain, branch) == branch

    def look_ahead(self, pairs, plain_tree):
        """Learns from all pairs of results, and from the tree at the end, which of the first inodes were copied up or deleted."""
        there = {tagged(words, "id=") for words in plain_tree}
        for plain, branch in pairs:
            mine, theirs = tagged(plain, "id="), tagged(branch, "id=")
            if mine in self.now and theirs and theirs != self.now[mine] and theirs not in self.before:
                self.replaced.add(self.now[mine])
        self.replaced.update(theirs for mine, theirs in self.now.items() if mine not in there)

    def is_untouched(self, plain, branch):
        """The branch's answer is of an object of the lower that it still shows."""
        inode = tagged(branch, "id=")
        return self.before.get(inode) == tagged(plain, "id=") and self.now.get(tagged(plain, "id=")) == inode

    def was_there(self, inode):
        """At the start, in the plain copy."""
        return inode in self.before.values()

    def was_replaced(self, plain):
        """The plain answer is of an object that was there at the start, and that the branch has made anew since, or will."""
        inode = tagged(plain, "id=")
        return any(mine == inode and theirs in self.replaced for theirs, mine in self.before.items())

    def left_behind(self, plain, branch):
        """The branch's answer is of an object of the lower that it has no more: a descriptor that was opened before."""
        inode = tagged(branch, "id=")
        return inode in self.replaced and self.before.get(inode) == tagged(plain, "id=")


def number(word):
    """As strtol(3) reads it: octal behind a zero."""
    return int(word, 8 if re.fullmatch("0[0-7]+", word) else 0)


def tagged(words, tag):
    return next((word for word in words if word.startswith(tag)), None)


def words_differ(known, plain, branch):
    """The pairs of words that should be the same."""
    if len(plain) != len(branch):
        return [(" ".join(plain), " ".join(branch))]
    return [(a, b) for a, b in zip(plain, branch) if not same_word(known, a, b)]


def same_word(known, plain, branch):
    if plain.startswith("id=") and branch.startswith("id="):
        return known.same_inode(plain, branch)
    if plain.startswith("dev=") and branch.startswith("dev="):
        return known.same_device(plain, branch)
    if plain.startswith("atime=") and branch.startswith("atime="):
        return plain == branch or "atime=now" in (plain, branch)
    return UNNAMED.sub("#", plain) == UNNAMED.sub("#", branch)
