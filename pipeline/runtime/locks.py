"""All locks: on files (flock), which the kernel releases when their holder dies.

Only their owner can open these files: whoever may read a file can lock it, with flock as with fcntl, where a read lock
keeps writers out. Imports the standard library only, since shared memory is made under such a lock too.

A directory of checkpoints has two: one exporter for as long as it lives, one change at a time.
"""

import errno
import fcntl
import math
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHANGE_LOCK = ".change.lock"
FOREVER = math.inf

_MODE = 0o600
_PATIENCE_S = 5.0
_RETRY_S = 0.01


def acquire(handle: int, patience: float) -> bool:
    """Lock the open file or directory `handle`, waiting up to `patience` seconds; return whether it is locked now."""
    if patience == FOREVER:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
        else:
            return True


def take(path: Path, patience: float = 0.0) -> int:
    """Take the lock at `path`, making its file where there is none; return the descriptor, with which it is given back.

    Raises BlockingIOError if another process has it for more than `patience` seconds, another OSError where the file
    cannot be opened.
    """
    while True:
        handle = _open(path)
        try:
            if not acquire(handle, patience):
                raise BlockingIOError(errno.EWOULDBLOCK, "locked by another process", str(path))
            if os.fstat(handle).st_nlink:
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the file was removed before the lock was ours: others no longer try this one


@contextmanager
def taken(path: Path, patience: float = FOREVER) -> Iterator[None]:
    """Hold the lock at `path` for a while. Raises as `take` does."""
    handle = take(path, patience)
    try:
        yield
    finally:
        os.close(handle)


class DirectoryTaken(Exception):
    """Another sidecar writes into this directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory for one change; raises TimeoutError if another process holds it for seconds."""
    try:
        handle = take(directory / CHANGE_LOCK, _PATIENCE_S)
    except BlockingIOError:
        raise TimeoutError(f"{directory}: in use by another command for over {_PATIENCE_S:g} s") from None
    try:
        yield
    finally:
        os.close(handle)


class Claim:
    """The exclusive right to write into `directory`, from the first `hold` to the end of the process.

    `lock` is the name of its file there, `setting` what another sidecar has to set otherwise.
    """

    def __init__(
        self, directory: Path, lock: str = ".exporter.lock", setting: str = "VMAFX_SIDECAR_CHECKPOINT_DIR"
    ) -> None:
        self._path, self._setting = directory / lock, setting
        self._handle: int | None = None

    def hold(self, patience: float = 0.0) -> bool:
        """Make sure that the right is held, also of a directory that was removed and is back.

        Returns whether it was acquired just now, so that the directory may hold what this process has not seen.
        Raises DirectoryTaken when another process holds it for more than `patience` seconds, OSError where the
        directory cannot be written.
        """
        if self._handle is not None and self._leads_to(self._handle):
            return False
        self.release()
        try:
            self._handle = take(self._path, patience)
        except BlockingIOError:
            raise DirectoryTaken(
                f"{self._path.parent}: another sidecar publishes here; give each its own {self._setting}"
            ) from None
        return True

    def release(self) -> None:
        """Give the right up."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _leads_to(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False


@contextmanager
def held(directory: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold the right to publish into `directory` for a while; of one that is not there nothing has to be held.

    Raises DirectoryTaken where an exporter has it for more than `patience` seconds.
    """
    claim = Claim(directory)
    if directory.is_dir():
        claim.hold(patience)
    try:
        yield
    finally:
        claim.release()


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        found, us = os.fstat(handle), os.geteuid()
        if us not in {0, found.st_uid}:
            raise PermissionError(errno.EPERM, f"belongs to user {found.st_uid}, expected {us}", str(path))
        if stat.S_IMODE(found.st_mode) != _MODE:
            os.fchmod(handle, _MODE)
    except BaseException:
        os.close(handle)
        raise
    return handle
