"""What the scenarios' Python scripts use inside the container. They run in the workdir."""
import errno
import os
import sys

failed = False


def fail(message):
    global failed
    failed = True
    print("FAIL:", message, flush=True)


def check(condition, message):
    if not condition:
        fail(message)


def same(got, want, what=""):
    check(got == want, f"{what}: got {got!r}, want {want!r}")


def outcome(call, *args, **kwargs):
    """The call's errno by name, or "ok"; a descriptor that it returns is closed."""
    try:
        result = call(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno]
    if call is os.open:
        os.close(result)
    return "ok"


def refused(want, call, *args, **kwargs):
    got = outcome(call, *args, **kwargs)
    check(got == want, f"{call.__name__}{args}{kwargs or ''}: got {got}, want {want}")


def read(path, **kwargs):
    fd = os.open(path, os.O_RDONLY, **kwargs)
    try:
        return os.read(fd, 1 << 20).decode()
    finally:
        os.close(fd)


def write(path, text, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o644, **kwargs):
    fd = os.open(path, flags, mode, **kwargs)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def finish():
    if failed:
        sys.exit(1)
    print("scenario-finished")
