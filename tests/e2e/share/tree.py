"""python3 tree.py DIR SINCE [VOLATILE [UNCOUNTED]]: what two runs of the same programs must have left alike in DIR, an entry a line.

Type and mode, owner, size, links, device number, extended attributes, hard-linked names, content (SHA-256) or target, and
the mtime, if it is older than SINCE (nanoseconds): a program set it, or nobody changed the entry. A later one is the
moment's, and so is that second when it is whole: some programs set no more. VOLATILE: a regular expression; of regular files whose path it matches, size and content are not told.
UNCOUNTED: likewise, how many links they have; which of the paths are one file is told all the same.
"""
import hashlib
import os
import re
import stat
import sys


def attributes(path):
    names = os.listxattr(path, follow_symlinks=False)
    # trusted.*: only the host can see them.
    values = (f"{n}={os.getxattr(path, n, follow_symlinks=False).hex()}" for n in sorted(names) if n[:8] != "trusted.")
    return ",".join(values) or "-"


def time_of(st, since):
    begins = since - since % 10**9 if st.st_mtime_ns % 10**9 == 0 else since
    return st.st_mtime_ns if st.st_mtime_ns < begins else "now"


def content(path, st, told):
    if stat.S_ISLNK(st.st_mode):
        return "-> " + repr(os.readlink(path))
    if not stat.S_ISREG(st.st_mode) or not told:
        return "-"
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries(top):
    """Paths below it, itself included, sorted bytewise."""
    found = [top]
    for path, directories, files in os.walk(top):
        found += (os.path.join(path, name) for name in directories + files)
    return sorted(found, key=os.fsencode)


def main(top, since, volatile=r"(?!)", uncounted=r"(?!)"):
    names = {}
    for path in entries(top):
        shown, st = os.path.relpath(path, top), os.lstat(path)
        told = not re.search(volatile, shown)
        regular = stat.S_ISREG(st.st_mode)
        size = st.st_size if regular and told else "-"
        links = "-" if regular and re.search(uncounted, shown) else st.st_nlink
        first = names.setdefault((st.st_dev, st.st_ino), shown) if not stat.S_ISDIR(st.st_mode) else shown
        alike = "" if first == shown else f" = {first!r}"
        print(f"{shown!r} {st.st_mode:06o} {st.st_uid}:{st.st_gid} size {size} links {links} rdev {st.st_rdev:x} "
              f"mtime {time_of(st, int(since))} {attributes(path)} {content(path, st, told)}{alike}")


if __name__ == "__main__":
    main(*sys.argv[1:])
