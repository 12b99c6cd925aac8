"""Files that several processes change and that a crash leaves whole."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.runtime import locks
from pipeline.runtime.durable import sync_directory


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that belongs to the file at this path, alone among all threads and processes.

    The lock is on a file of its own, `<name>.lock`, that is never removed: the file itself is replaced at
    every write, and a lock on what was replaced would exclude nobody. The kernel releases it when its
    holder dies. The directory is made where it is missing.
    """
    make_directory(path.parent)
    with locks.taken(path.with_name(path.name + ".lock")):
        yield


def replace(path: Path, data: bytes) -> None:
    """Put data in the place of the file: a reader, or a crash, finds the old content or the new, whole.

    The caller holds the lock; that is why one name for the temporary file is enough, and why one that a
    killed writer left behind is written over rather than piled up.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def set_aside(path: Path, why: str) -> Path:
    """Move the file to the first free name of `<name>.<why>-1`, `-2`, … and return it.

    A hard link fails where the name is taken, a rename would write over it.
    """
    for number in itertools.count(1):
        target = path.with_name(f"{path.name}.{why}-{number}")
        with suppress(FileExistsError):
            target.hardlink_to(path)
            break
    path.unlink()
    sync_directory(path.parent)
    return target


def make_directory(path: Path) -> None:
    """Make a directory and its missing parents, for this user only, so that they survive a crash."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_directory(path.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
