"""Who may write to a checkpoint directory: one exporter for as long as it lives, one change at a time.

Both are locks on files (flock), which the kernel releases when their holder dies. Only their owner can open these
files: whoever may read a file can lock it, with flock as with fcntl, where a read lock keeps writers out.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHANGE_LOCK = ".change.lock"

_MODE = 0o600
_PATIENCE_S = 5.0
_RETRY_S = 0.01


class DirectoryTaken(Exception):
    """Another sidecar publishes into this directory."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the directory for one change; raises TimeoutError when somebody else holds it for seconds."""
    handle = _open(directory / CHANGE_LOCK)
    try:
        _acquire(handle, directory)
        yield
    finally:
        os.close(handle)


class Claim:
    """The exclusive right to publish into `directory`, from the first `hold` to the end of the process."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / ".exporter.lock"
        self._handle: int | None = None

    def hold(self) -> bool:
        """Make sure that the right is held, also of a directory that was removed and is back.

        Returns whether it was acquired just now, so that the directory may hold what this process has not seen.
        Raises DirectoryTaken when another process holds it, OSError where the directory cannot be written.
        """
        if self._handle is not None and self._leads_to(self._handle):
            return False
        self.release()
        handle = _open(self._path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise DirectoryTaken(
                f"{self._path.parent}: another sidecar publishes here; give each its own VMAFX_SIDECAR_CHECKPOINT_DIR"
            ) from None
        self._handle = handle
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
def held(directory: Path) -> Iterator[None]:
    """Hold the right to publish into `directory` for a while; of one that is not there nothing has to be held.

    Raises DirectoryTaken where an exporter has it.
    """
    claim = Claim(directory)
    if directory.is_dir():
        claim.hold()
    try:
        yield
    finally:
        claim.release()


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != _MODE:
            os.fchmod(handle, _MODE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _acquire(handle: int, directory: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{directory}: in use by another command for over {_PATIENCE_S:g} s") from None
            time.sleep(_RETRY_S)
