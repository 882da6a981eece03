"""What a divergence may be excused by: the known limits, one function each, as narrow as the README's words.

A function gets the call's words, the two results and the correspondence of inodes. Its first line is the reason.
"""

READERS = {"pread", "read", "mread", "fstat", "statx", "stat", "fgetxattr", "flistxattr", "copyrange", "exec"}


def stale_reader(call, plain, branch, known):
    """A program that opened an untouched file before another changed it keeps seeing the lower's content."""
    return call[1] in READERS and known.left_behind(plain, branch)


LIMITS = [stale_reader]


def excuse(call, plain, branch, known):
    """The limit's reason, or None."""
    return next((limit.__doc__ for limit in LIMITS if limit(call, plain, branch, known)), None)
