"""A bell: ends the wait of one process. Ringing never waits, and no ring is lost.

A FIFO in /dev/shm that both sides hold open for reading and writing, so that each may come and go: what is in it means
no more than "look again". A ringer who rings often looks first whether anybody waits, in a word that the waiting
process alone writes. That is Dekker's pattern: each side stores (the waiter its word, the ringer the news), then loads
what the other stored, with a fence in between, so that at least one of the two sees the other.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable

from pipeline.shm.atomics import STORES_IN_ORDER, AtomicInt64
from pipeline.shm.segment import SHM_DIR, SharedMemoryDenied

_lock = threading.Lock()


def _fence() -> None:
    """Let all stores before be visible before any load after: taking a lock is an atomic read-modify-write."""
    with _lock:
        pass


class Bell:
    """The bell `name`, made where it is missing. `waiting` is 1 while its owner waits; its owner alone writes it.

    Raises SharedMemoryDenied where something else has the name.
    """

    def __init__(self, name: str, waiting: AtomicInt64) -> None:
        self.name = name
        self._waiting = waiting
        path = SHM_DIR / name
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o600)
            self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SharedMemoryDenied(f"{path}: {error.strerror}") from None
        found = os.fstat(self.fd)
        if not stat.S_ISFIFO(found.st_mode) or found.st_uid != os.geteuid():
            os.close(self.fd)
            raise SharedMemoryDenied(f"{path}: expected a FIFO of user {os.geteuid()}")
        self._inode = found.st_ino
        self._readable = select.poll()
        self._readable.register(self.fd, select.POLLIN)

    def is_current(self) -> bool:
        """Whether the name still leads to this bell."""
        try:
            return (SHM_DIR / self.name).lstat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def ring(self) -> None:
        """End the owner's wait, or its next one."""
        with contextlib.suppress(BlockingIOError):  # it is full: a ring is pending already
            os.write(self.fd, b"!")

    def ring_if_waiting(self) -> None:
        """Ring for news that the owner's wait looks for itself before it begins (`unless`)."""
        _fence()
        if self._waiting.load() or not STORES_IN_ORDER:
            self.ring()

    def wait(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait until rung, at most `seconds`; not at all if `unless` says that there is something to do."""
        self._waiting.store(1)
        _fence()
        if not unless() and self._readable.poll(max(0.0, seconds) * 1000):
            self.silence()
        self._waiting.store(0)

    def silence(self) -> None:
        """Take note of all rings so far."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.fd, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close the bell; it stays for others."""
        os.close(self.fd)
