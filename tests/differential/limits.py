"""What a divergence may be excused by: the known limits, one function each, as narrow as the README's words.

A function gets the call's words, the two results and the correspondence of inodes. Its first line is the reason.
"""

READERS = {"pread", "read", "mread", "fstat", "statx", "stat", "fgetxattr", "flistxattr", "copyrange", "exec"}


def stale_reader(call, plain, branch, known):
    """A program that opened an untouched file before another changed it keeps seeing the lower's content."""
    return call[1] in READERS and known.left_behind(plain, branch)


MOVED_FROM, MOVED_TO, DIRECTORY, DIRECTORY_TOUCHED = 0x40, 0x80, 0x40000000, "40000004"


def without_copy_ups(events):
    """Events but for those of split and copy-up: a name that goes and comes at once. Equal ones in a row are one (inotify(7))."""
    kept = []
    for event in events:
        mask, _, name = event.partition(":")
        if kept and name and int(mask, 16) & MOVED_TO:
            before, _, gone = kept[-1].partition(":")
            if gone == name and int(before, 16) == int(mask, 16) - MOVED_TO + MOVED_FROM:
                kept.pop()
                continue
        if event != DIRECTORY_TOUCHED and event not in kept[-1:]:
            kept.append(event)
    return kept


def watched_copy_up(call, plain, branch, known):
    """A watch on a directory sees the first change of an entry of it as that entry being replaced, and the directory's times set."""
    return call[1] == "events" and (without_copy_ups(branch[1:]) == without_copy_ups(plain[1:]) or
                                    branch[:1] == ["ok"] and plain == ["EAGAIN"] and not without_copy_ups(branch[1:]))


DESCRIPTORS = {"dup", "recvfd"}


def stale_descriptor(call, plain, branch, known):
    """The same for copies of such a descriptor."""
    return call[1] in DESCRIPTORS and len(plain) == len(branch) == 2 and known.left_behind(plain, branch)


LIMITS = [stale_reader, watched_copy_up, stale_descriptor]


def excuse(call, plain, branch, known):
    """The limit's reason, or None."""
    return next((limit.__doc__ for limit in LIMITS if limit(call, plain, branch, known)), None)


def left_out(entry):
    """A commit leaves sockets out (cowrun-branch(1)): nobody listens on them any more."""
    return any(word.startswith("mode=14") for word in entry)
