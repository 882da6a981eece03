"""What a divergence may be excused by: the known limits, one function each, as narrow as the words of contrib/doc/limits.md.

A function gets the call's words, the two results and the correspondence of inodes. Its first line is the reason.
"""
import os
import re
import stat
from functools import lru_cache

from compare import number, tagged

READERS = {"pread", "read", "mread", "fstat", "statx", "stat", "fgetxattr", "flistxattr", "copyrange", "exec"}


def names_replaced(call, known):
    """Is one of the call's descriptors on what the branch has made anew since, or will?"""
    return any(known.was_replaced([description.inode]) for description in known.descriptors.named(call))


def stale_reader(call, plain, branch, known):
    """A program that opened an untouched file before another changed it keeps seeing the lower's content."""
    by_descriptor = call[1] == "fstatat" and call[3] == "%"
    stale = (call[1] in READERS or by_descriptor) and known.left_behind(plain, branch) or copies_old(call, known)
    if stale and call[1] == "read":
        for description in known.descriptors.named(call):
            description.astray = True
    return stale


def orphan(call, plain, branch, known):
    """A file that was changed and then deleted is as the lower has it again to who opened it before all that."""
    return call[1] in READERS and "nlink=0" in plain and "nlink=0" in branch and known.was_replaced(plain)


def copies_old(call, known):
    """copy_file_range(2) says of its target only what it is."""
    source = known.descriptors.at(int(call[0]), int(call[2])) if call[1] == "copyrange" and call[0].isdigit() else None
    return source is not None and known.was_replaced([source.inode])


def astray(call, plain, branch, known):
    """By which it then is at another position in the file that there is; or another number of the same description, replaced, is."""
    return call[1] in ("read", "lseek") and any(
        description.astray or len(description.holders) > 1 and known.was_replaced([description.inode])
        for description in known.descriptors.named(call))


def writes_astray(call, known):
    return call[1] == "write" and any(description.astray for description in known.descriptors.named(call))


def access_time_alone(call, plain, branch, known):
    """An access time that was set is no change: diff does not show it, and a commit does not take it along."""
    differing = [(a, b) for a, b in zip(plain, branch) if a != b and not a.startswith("id=")]
    return known.committed and len(plain) == len(branch) and all(a.startswith("atime=") for a, _ in differing)


MOVED_FROM, MOVED_TO, CREATE, DELETE, TOUCHED = 0x40, 0x80, 0x100, 0x200, 0x40000004
DIRECTORY = 0x40000000


def by_name(events):
    """The masks of each name's events, in their order. "" is what is watched itself: that its times were set is left out."""
    masks = {}
    for event in events:
        mask, _, name = event.partition(":")
        if int(mask, 16) != TOUCHED:
            masks.setdefault(re.sub("^#[0-9]+$", "#", name), []).append(int(mask, 16))
    return masks


def is_exchange(first, second):
    return {first & ~DIRECTORY, second & ~DIRECTORY} == {MOVED_FROM, MOVED_TO}


@lru_cache
def seen(plain, branch):
    """Could one who is told plain's events of a name be told the branch's? Before its first change an entry is replaced, which may
    be one with an event of the same kind beside it (inotify(7)); what is deleted without having been changed is moved away; a file
    that is renamed over an untouched one is known to its old directory still, and has two names for a moment; a file of a tree that is
    linked is moved there."""
    if not branch:
        return not plain
    # Equal ones in a row are one, unless another name's is between them.
    if plain[1:2] == plain[:1] != () and seen(plain[1:], branch) or branch[1:2] == branch[:1] and seen(plain, branch[1:]):
        return True
    if plain and (plain[0] == branch[0] or plain[0] & ~DIRECTORY == DELETE and branch[0] & ~DIRECTORY == MOVED_FROM or
                  plain[0] & ~DIRECTORY == MOVED_FROM and branch[0] & ~DIRECTORY == DELETE or
                  plain[0] == CREATE and branch[0] == MOVED_TO):
        # Or else one of them is told more of what has no name any more.
        gone = {plain[0] & ~DIRECTORY, branch[0] & ~DIRECTORY} & {DELETE} and (not plain[1:] or not branch[1:])
        if seen(plain[1:], branch[1:]) or gone and not any(m & (CREATE | MOVED_TO) for m in plain[1:] + branch[1:]):
            return True
    if len(branch) > 1 and is_exchange(branch[0], branch[1]):
        return any(seen(plain, kept + branch[2:]) for kept in ((), branch[:1], branch[1:2]))
    # (4: it has two names for a moment; what is equal before and after that is not one any more)
    return branch[0] == 4 and seen(plain, branch[1:]) or branch[1:2] == (4,) and seen(plain, branch[:1] + branch[2:])


def watched_copy_up(call, plain, branch, known):
    """inotify: a watch on a directory sees the first change of an entry of it as that entry being replaced."""
    if call[1] != "events" or not all(result in (["EAGAIN"], ["ok", *result[1:]]) for result in (plain, branch)):
        return False
    plain, branch = by_name(plain[1:]), by_name(branch[1:])
    return all(seen(tuple(plain.get(name, ())), tuple(branch.get(name, ()))) for name in plain.keys() | branch.keys())


def lonely_copy(call, plain, branch, known):
    """Who has a lower file open keeps that and not its copy, so a watch sees the copy go when it is deleted."""
    held = any(known.was_replaced([description.inode]) for description in known.descriptors.all())
    return call[1] == "events" and held and branch[-2:] == ["400", "8000"] and branch[:-2] == plain


def late_deletion(call, plain, branch, known):
    """Rootless: a deleted copy is gone, and inotify says so, a minute later at most."""
    return is_rootless() and call[1] == "events" and plain[-2:] == ["400", "8000"] and branch == plain[:-2]


def is_rootless():
    return "rootless" in os.environ["COWRUN_TEST_ENGINE"]


def same_events(plain, branch):
    # What replaces an untouched entry is exchanged with it: it comes, and then the other goes.
    branch = [event for n, event in enumerate(branch) if event in plain or n == 0 or
              branch[n - 1] != event.replace(f"{MOVED_FROM:x}:", f"{MOVED_TO:x}:", 1)]
    # A file that is renamed over an untouched one has two names for a moment, which is a change of its attributes.
    return branch == plain or [event for event in branch if event != "4"] == [event for event in plain if event != "4"]


HANDLE = re.compile("(/proc/(self|thread-self|@[0-9])/fd|/dev/fd)/[0-9]+")
DESCRIPTORS = {"dup", "recvfd", "setlk", "setofd", "flock"}


def stale_descriptor(call, plain, branch, known):
    """The same for copies of such a descriptor, also by /proc/self/fd/N."""
    reopens = call[1].startswith("open") and any(HANDLE.fullmatch(word) for word in call[2:])
    if reopens and plain in (["EACCES"], ["ETXTBSY"]):
        return tagged(branch, "id=") in known.replaced
    return (reopens or call[1] in DESCRIPTORS) and len(plain) == len(branch) == 2 and known.left_behind(plain, branch)


def stale_access(call, plain, branch, known):
    """The same for access(2) of such a descriptor, unless it asks for writing."""
    by_descriptor = call[1] == "faccessat2" and call[3] == "%" or call[1] == "access" and HANDLE.fullmatch(call[2])
    mode = number(call[4] if call[1] == "faccessat2" else call[3]) if by_descriptor else os.W_OK
    return mode & os.W_OK == 0 and {plain[0], branch[0]} == {"ok", "EACCES"} and \
        names_replaced(call, known)


def stale_directory(call, plain, branch, known):
    """A directory handle that another process or thread holds and only reads lists the directory as it was before its change."""
    gone = plain == ["ENOENT"] and branch[0] != "ENOENT" and tagged(branch, "id=") in known.replaced
    return call[1] == "readdir" and (gone or known.left_behind(plain, branch))


def lock_across_copy_up(call, plain, branch, known):
    """Locks do not exclude across a copy-up."""
    return call[1] in ("flock", "setlk", "setofd") and plain[:1] == ["EAGAIN"] and branch[:1] == ["ok"]


def runs_descriptor(call):
    return call[1] == "exec" and (call[3] == "%" or HANDLE.fullmatch(call[3]) is not None)


def old_path(call, plain, branch, known):
    """What /proc/self/fd/N shows of a descriptor that was opened before is the path from before the change."""
    if runs_descriptor(call) and plain[:1] + branch[:1] == ["ok", "ok"]:
        return any(known.was_there(description.inode) for description in known.descriptors.named(call))
    if call[1] != "readlink" or not HANDLE.fullmatch(call[2]) or plain[:1] + branch[:1] != ["ok", "ok"]:
        return False
    renamed_over = branch[1].endswith("%20(deleted)") and known.same_inode(plain[2], branch[2])
    return renamed_over or known.left_behind(plain, branch) or known.is_untouched(plain, branch)


def shared_reading(call, plain, branch, known):
    """A description of a directory that several processes share, or several numbers of one with threads, becomes one for each."""
    shared = any(known.descriptors.is_shared(description) for description in known.descriptors.named(call))
    return call[1] in ("readdir", "tell") and shared and known.was_replaced(plain)


def unreadable_path_only(call, plain, branch, known):
    """An O_PATH handle on a directory that its holder may not read stays on the unchanged directory."""
    return branch == ["EACCES"] and any(description.is_path_only() for description in known.descriptors.named(call))


def path_only(call, plain, branch, known):
    """A descriptor opened with O_PATH in a directory of the lower becomes one for reading when that directory is changed."""
    # (play notes it of the first descriptor only)
    return plain[0] == "EBADF" and ("path-only" in plain or call[1] == "copyrange") and \
        any(description.is_path_only() for description in known.descriptors.named(call))


def path_only_flags(call, plain, branch, known):
    """The same in what F_GETFL says."""
    return call[1] == "getfl" and all(len(words) == 2 and words[0] == "ok" for words in (plain, branch)) and \
        int(plain[1]) & os.O_PATH != 0 and int(branch[1]) & os.O_PATH == 0


def link_by_descriptor(call, plain, branch, known):
    """linkat(2) with AT_EMPTY_PATH of a file of the lower is refused, as for a descriptor of somebody else's; or for the new name first."""
    return call[1] == "linkat" and call[3] == "%" and \
        (plain == ["ok"] and branch == ["ENOENT"] or plain == ["ENOENT"] and branch in (["EACCES"], ["EEXIST"], ["ENOTDIR"]))


LOOKS = READERS | {"lstat", "fstatat", "content", "readlink", "readlinkat", "access", "faccessat", "faccessat2", "getxattr",
                   "lgetxattr", "listxattr", "llistxattr"}


def opens_for_reading(call):
    if not call[1].startswith("open"):
        return False
    flags = number(call[4 if call[1] == "open" else 5])
    return flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC) == 0


def way_through_handle(call, plain, branch, known):
    """A path through /proc/self/fd/N of a directory opened before it was changed shows, to calls that only read, what it was."""
    return goes_through_handle(call)


def goes_through_handle(call):
    return (call[1] in LOOKS or opens_for_reading(call)) and any(re.match(HANDLE.pattern + "/", word) for word in call[2:])


def handle_of_another(call, plain, branch, known):
    """What is changed, watched or gone to by a path through another process's handle on a directory from before its change is refused,
    or looked for in what the directory was."""
    names = known.descriptors.process
    through = [found for word in call[2:] for found in [re.match("/proc/@([0-9])/fd/[0-9]+/", word)] if found]
    return branch in (["EROFS"], ["EXDEV"], ["ENOENT"]) and any(names.get(int(found.group(1))) != names.get(int(call[0])) for found in through)


def up_from_deleted(call, plain, branch, known):
    """".." of a deleted directory that was gone to by a handle from before leads nowhere."""
    here = known.descriptors.gone_to.get(known.descriptors.process.get(int(call[0]))) if call[0].isdigit() else None
    return here is not None and branch == ["ENOENT"] and known.was_there(here.inode) and any(word.startswith("..") for word in call[2:])


def link_count(call, plain, branch, known):
    """The link count of an untouched file is the lower's, also after one of its names was deleted, or its tree linked."""
    others = [(a, b) for a, b in zip(plain, branch) if a != b and not a.startswith(("id=", "dev=", "atime="))]
    return len(plain) == len(branch) and known.is_untouched(plain, branch) and len(others) == 1 and \
        others[0][0].startswith("nlink=") and others[0][1].startswith("nlink=")


def stale_program(call, plain, branch, known):
    """So is a program that is executed by such a descriptor: not the file that is open for writing, or no program any more."""
    if not runs_descriptor(call):
        return False
    # (a script's interpreter may be missing, or could not open a descriptor that closes on exec: ENOENT)
    # (what it was may run where what it has become is killed by a signal)
    refused = (plain in (["ETXTBSY"], ["ENOEXEC"], ["EACCES"]) or plain[0].startswith("status=")) and (branch[:1] == ["ok"] or branch == ["ENOENT"])
    return (refused or plain[:1] == ["ok"] and branch in (["EACCES"], ["ENOEXEC"])) and \
        names_replaced(call, known)


def parted_fifo(call, plain, branch, known):
    """A FIFO of the lower whose mode, owner, times or names were changed is the branch's own: who has it open has the other."""
    return call[1].startswith("open") and plain[:1] == ["ok"] and branch == ["ENXIO"] and known.was_replaced(plain)


def kinds_in_listings(call, plain, branch, known):
    """Rootless: readdir gives the lower's FIFOs, sockets and devices the type of a file once their directory is split."""
    kinds = {stat.S_IFIFO >> 12, stat.S_IFSOCK >> 12, stat.S_IFCHR >> 12, stat.S_IFBLK >> 12}
    differing = [(a.rpartition(":"), b.rpartition(":")) for a, b in zip(plain, branch) if a != b and not a.startswith("id=")]
    return is_rootless() and call[1] == "readdir" and len(plain) == len(branch) and \
        all(a[0] == b[0] and int(a[2]) in kinds and int(b[2]) == stat.S_IFREG >> 12 for a, b in differing)


def directory_times_alone(call, plain, branch, known):
    """Times of directories are no change that diff shows; a commit takes them along with others, if there are any."""
    differing = [a for a, b in zip(plain, branch) if a != b and not a.startswith(("id=", "atime="))]
    return known.nothing and any(word.startswith("mode=04") for word in plain) and all(a.startswith("mtime=") for a in differing)


LIMITS = [link_count, stale_reader, astray, orphan, stale_program, stale_access, stale_directory, stale_descriptor, old_path, way_through_handle,
          shared_reading, parted_fifo, lock_across_copy_up, watched_copy_up, lonely_copy, late_deletion, kinds_in_listings,
          access_time_alone, directory_times_alone, path_only, path_only_flags, unreadable_path_only, link_by_descriptor, handle_of_another, up_from_deleted]


def excuse(call, plain, branch, known):
    """The limit's reason, or None."""
    return next((limit.__doc__ for limit in LIMITS if limit(call, plain, branch, known)), None)


def spoils(call, plain, branch):
    """Is what follows an excused answer nothing to go by? Old content was copied, or there is no descriptor."""
    return call[1] == "copyrange" or (call[1].startswith("open") and plain[0] != branch[0]) or \
        (plain[:1] == ["ok"] and branch in (["EACCES"], ["EROFS"], ["EXDEV"], ["ENOENT"])) or (plain[0] == "EBADF" and branch[0] == "ok")


def left_out(entry):
    """A commit leaves sockets out (cowrun-branch(1)): nobody listens on them any more."""
    return any(word.startswith("mode=14") for word in entry)
