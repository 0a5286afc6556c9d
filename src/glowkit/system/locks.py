"""Locks on files that end with the process that holds them, however it ends."""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

_SECONDS_TO_SIGN = 1.0

_held: dict[int, int] = {}
"""Descriptors that carry a lock, and the process that took it."""


def grab(descriptor: int) -> bool:
    """Lock an open file; False when another process, or another opening of it, holds the lock.

    The lock goes when `release` is called or the process ends, kill -9 included. Processes forked
    meanwhile do not inherit it. Raises OSError where the file system or the system has no locks.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _held[descriptor] = os.getpid()
    return True


def release(descriptor: int) -> None:
    """Close a file that may be locked. Does nothing in a process forked since it was locked."""
    if _held.pop(descriptor, os.getpid()) == os.getpid():
        os.close(descriptor)


def _forget_in_child() -> None:
    # A lock belongs to the opening of the file, which a fork shares: a worker that outlives its
    # parent would keep it. Closing here leaves the parent's as it is.
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    for descriptor in _held:
        _held[descriptor] = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


class Lock:
    """The right to be the only writer of a place: a locked file that names its holder.

    The file is removed when the lock is given back. After a kill it stays, and says nothing: only
    the lock counts. Paths that lead to one folder lead to one lock.

    kept: False where the file system has no locks; nothing is then held off.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> one, other = Lock(folder / ".lock"), Lock(folder / ".lock")
    >>> one.take() is None, other.take() == f"process {os.getpid()} on {socket.gethostname()}"
    (True, True)
    >>> one.give_back()
    >>> other.take() is None
    True
    >>> other.give_back()
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept = True
        self._descriptor: int | None = None

    def take(self) -> str | None:
        """Take the lock and return None, or say at once who holds it.

        Raises OSError when the file cannot be made.
        """
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                free = grab(descriptor)
            except OSError:
                os.close(descriptor)
                self.kept = False
                return None
            if not free:
                try:
                    return _holder(descriptor)
                finally:
                    os.close(descriptor)
            if is_file(descriptor, self.path):
                break
            release(descriptor)  # its holder has just removed it: the next one counts
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._descriptor = descriptor
        return None

    def give_back(self) -> None:
        """Remove the file, then unlock it; does nothing when it is not held, or in a child."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None or _held.get(descriptor) != os.getpid():
            return
        if is_file(descriptor, self.path):
            with suppress(OSError):
                self.path.unlink()
        release(descriptor)


def is_file(descriptor: int, path: Path) -> bool:
    """Whether this path still leads to the file that is open."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    """What the holder wrote into its lock file, for which it gets a moment."""
    deadline = time.monotonic() + _SECONDS_TO_SIGN
    while time.monotonic() < deadline:
        text = os.pread(descriptor, 300, 0)
        if text.endswith(b"\n"):
            return text[:-1].decode(errors="replace")
        time.sleep(0.01)
    return "another process"
