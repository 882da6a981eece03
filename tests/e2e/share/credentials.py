"""Calls made with other credentials: each in a child, so that the scenario's own stay."""
import ctypes
import os

from scenario import check, outcome

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
DAC_OVERRIDE, FOWNER = 1, 3


class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def drop_capabilities(*numbers):
    """From the effective ones; the permitted ones stay."""
    header, data = Header(0x20080522, 0), (Data * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0
    for number in numbers:
        data[number // 32].effective &= ~(1 << number % 32)
    assert libc.capset(ctypes.byref(header), data) == 0


def new_namespace(uids, gids):
    """A user namespace with these maps, each "INSIDE OUTSIDE COUNT", written by the parent; ids stay as they are."""
    ready, go = os.pipe(), os.pipe()
    pid, owner = os.getpid(), os.fork()
    if owner == 0:
        os.close(go[0])
        os.read(ready[0], 1)
        for name, text in ("uid_map", uids), ("gid_map", gids):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write(text)
        os.write(go[1], b"x")
        os._exit(0)
    os.close(go[1])
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    assert os.waitpid(owner, 0)[1] == 0


class As:
    """Who calls: ids, supplementary groups, capabilities that are dropped, a new user namespace."""

    def __init__(self, uid=0, gid=None, groups=(), without=(), namespace=None, umask=0o022):
        self.uid, self.gid, self.groups = uid, uid if gid is None else gid, groups
        self.without, self.namespace, self.umask = without, namespace, umask

    def become(self):
        if self.namespace:
            new_namespace(*self.namespace)
        if (self.uid, self.gid, tuple(self.groups)) != (0, 0, ()):
            os.setgroups(self.groups)
            os.setresgid(self.gid, self.gid, self.gid)
            os.setresuid(self.uid, self.uid, self.uid)
        if self.without:
            drop_capabilities(*self.without)
        os.umask(self.umask)

    def __call__(self, call, *args, **kwargs):
        """The call's errno by name, "ok", or what it returned if that is no descriptor."""
        back = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.become()
                text = outcome(call, *args, **kwargs)
                if call is os.access:
                    text = str(os.access(*args, **kwargs))
            except BaseException as error:  # pylint: disable=broad-except
                text = f"broken: {error!r}"
            os.write(back[1], text.encode())
            os._exit(0)
        os.close(back[1])
        text = os.read(back[0], 4096).decode()
        os.close(back[0])
        os.waitpid(child, 0)
        return text

    def finds(self, want, call, *args, **kwargs):
        got = self(call, *args, **kwargs)
        check(got == want, f"{self.__dict__}: {call.__name__}{args}{kwargs or ''}: got {got}, want {want}")


def append(path):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"+")
    os.close(fd)
