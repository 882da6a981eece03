"""Calls that Python's os module lacks, for the scenarios: each raises OSError as os does. x86_64 and aarch64."""
import ctypes
import os
import platform
import struct

AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FS_NODUMP_FL, FS_NOATIME_FL, FS_XFLAG_NOATIME = 0x40, 0x80, 0x40
F_NOTIFY = 1026

_x86 = platform.machine() == "x86_64"
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(number, *args):
    """Bytes and str are paths; None is NULL."""
    words = []
    for arg in args:
        if isinstance(arg, str):
            arg = os.fsencode(arg)
        words.append(ctypes.c_char_p(arg) if isinstance(arg, bytes) else ctypes.c_long(arg or 0))
    result = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def linkat(olddir, old, newdir, new, flags):
    return syscall(265 if _x86 else 37, olddir, old, newdir, new, flags)


def fchmodat2(dirfd, path, mode, flags):
    return syscall(452, dirfd, path, mode, flags)


def fchownat(dirfd, path, uid, gid, flags):
    return syscall(260 if _x86 else 54, dirfd, path, uid, gid, flags)


def utimensat(dirfd, path, seconds, flags):
    times = None if seconds is None else struct.pack("qqqq", seconds, 1, seconds, 2)
    return syscall(280 if _x86 else 88, dirfd, path, times, flags)


def utime(path, seconds):
    """utime(2) where there is one."""
    if not _x86:
        return utimensat(AT_FDCWD, path, seconds, 0)
    return syscall(132, path, struct.pack("qq", seconds, seconds))


def utimes(path, seconds, micro=5):
    if not _x86:
        return utimensat(AT_FDCWD, path, seconds, 0)
    return syscall(235, path, struct.pack("qqqq", seconds, micro, seconds, micro))


def futimesat(dirfd, path, seconds):
    if not _x86:
        return utimensat(dirfd, path, seconds, 0)
    return syscall(261, dirfd, path, struct.pack("qqqq", seconds, 5, seconds, 5))


def setxattr(path, name, value, size, flags):
    """As the system call has it: `value` may be a number, an address."""
    return syscall(188 if _x86 else 5, path, name, value, size, flags)


def setxattrat(dirfd, path, flags, name, value, xflags=0):
    buffer = ctypes.create_string_buffer(value, max(len(value), 1))
    args = struct.pack("QII", ctypes.addressof(buffer), len(value), xflags)
    return syscall(463, dirfd, path, flags, name, args, len(args))


def removexattrat(dirfd, path, flags, name):
    return syscall(466, dirfd, path, flags, name)


def file_setattr(dirfd, path, xflags, flags):
    return syscall(469, dirfd, path, struct.pack("QIIII", xflags, 0, 0, 0, 0), 24, flags)


def get_flags(fd):
    import fcntl

    return struct.unpack("l", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("l", 0)))[0]


def set_flags(fd, flags):
    import fcntl

    fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("l", flags))


def set_xflags(fd, xflags):
    import fcntl

    fcntl.ioctl(fd, FS_IOC_FSSETXATTR, struct.pack("IIIII8s", xflags, 0, 0, 0, 0, b""))


def kernel_has(number):
    """Does it know the call? Without effect: no path, no such descriptor."""
    _libc.syscall(ctypes.c_long(number), ctypes.c_long(-1), None, None, None, None, None)
    return ctypes.get_errno() not in (1, 38)
