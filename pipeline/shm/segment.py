"""A named shared-memory segment: created whole or not at all, validated on attach, unlinked only on purpose.

Linux: segments are files in /dev/shm.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import shared_memory
from pathlib import Path
from types import SimpleNamespace

from pipeline.runtime import locks

SHM_DIR = Path("/dev/shm")  # noqa: S108  where Linux keeps POSIX shared memory
MAGIC = b"VMAFXSHM"
LAYOUT_VERSION = 4
HEADER_SIZE = 128
_HEADER = struct.Struct("<8sI16s4xQ6Q")


class SegmentError(Exception):
    """A segment cannot be used; the message says which and why."""


class SegmentAbsent(SegmentError):
    """There is no segment of that name (yet)."""


class SegmentMismatch(SegmentError):
    """A segment of that name exists and is of another layout."""


class SharedMemoryUnusable(SegmentError):
    """A segment cannot be made, now or at another attempt."""


class SharedMemoryFull(SharedMemoryUnusable):
    """No room is left for the segment."""


class SharedMemoryDenied(SharedMemoryUnusable):
    """Another user's file has the name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a segment's body holds: a kind, up to six whole numbers that fix its shape, and its size in bytes."""

    kind: str
    shape: tuple[int, ...]
    size: int

    def header(self) -> bytes:
        """Return the header's bytes."""
        padded = self.shape + (0,) * (6 - len(self.shape))
        total = HEADER_SIZE + self.size
        return _HEADER.pack(MAGIC, LAYOUT_VERSION, self.kind.encode(), total, *padded)


class _Untracked(shared_memory.SharedMemory):
    """SharedMemory without a resource tracker: that of an exiting process would unlink it for all."""

    def __init__(self, name: str, *, create: bool = False, size: int = 0) -> None:
        if sys.version_info >= (3, 13):
            super().__init__(name, create=create, size=size, track=False)
        else:
            with _tracker_silenced():
                super().__init__(name, create=create, size=size)
        # The mapping needs it no longer; `close` would not get to it as long as anybody has a view.
        os.close(self._fd)  # type: ignore[has-type]
        self._fd = -1

    @property
    def bytes(self) -> memoryview:
        """Every byte of the segment."""
        assert self.buf is not None, "the segment is closed"
        return self.buf

    def __del__(self) -> None:
        # Arrays over the buffer may outlive it at interpreter exit; the mapping then ends with the process.
        with contextlib.suppress(BufferError):
            super().__del__()


@contextlib.contextmanager
def _tracker_silenced() -> Iterator[None]:
    """Give Python before 3.13 what `track=False` gives later. Not for use while other threads make segments."""
    tracker = shared_memory.resource_tracker  # type: ignore[attr-defined]
    silent = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
    shared_memory.resource_tracker = silent  # type: ignore[attr-defined]
    try:
        yield
    finally:
        shared_memory.resource_tracker = tracker  # type: ignore[attr-defined]


class Segment:
    """An attached segment. `body` is a writable memoryview of the bytes behind the header."""

    def __init__(self, memory: _Untracked, layout: Layout, status: os.stat_result) -> None:
        self._memory = memory
        self._inode = status.st_ino
        self.owner = status.st_uid
        self.layout = layout
        self.name = memory.name
        self.body = memory.bytes[HEADER_SIZE : HEADER_SIZE + layout.size]

    def is_current(self) -> bool:
        """Whether the name still leads to this segment (it does not once an owner replaced it)."""
        try:
            return (SHM_DIR / self.name).stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def put_back(self) -> None:
        """Make it again with its content, if it was removed; for its writer, which then attaches.

        Raises SharedMemoryUnusable where that is impossible.
        """
        with _creating(self.name):
            if not (SHM_DIR / self.name).exists():
                made = create(self.name, self.layout)
                made.body[:] = self.body
                made.close()

    def close(self) -> None:
        """Detach. Views that still exist keep the mapping alive until they go."""
        with contextlib.suppress(BufferError):
            self.body.release()
            self._memory.close()


def attach(name: str, kind: str, shape: tuple[int, ...] | None = None) -> Segment:
    """Attach to segment `name`, which must be of `kind` and, where given, of `shape`.

    Raises SegmentAbsent, or SegmentMismatch with what was found and what was expected. Another user's segment is none
    (except for root): its owner could cut it short under a reader.
    """
    try:
        # Looked at before it is opened: should it be replaced in between, `is_current` is False rather than True.
        status = (SHM_DIR / name).lstat()
        if os.geteuid() not in {0, status.st_uid}:
            raise SegmentMismatch(f"shared memory {name} belongs to user {status.st_uid}, expected {os.geteuid()}")
        memory = _Untracked(name)
    except FileNotFoundError:
        raise SegmentAbsent(f"shared memory {name} does not exist") from None
    except ValueError:
        raise SegmentMismatch(f"shared memory {name} is empty") from None
    try:
        layout = _read_layout(name, memory)
        if layout.kind != kind or (shape is not None and layout.shape[: len(shape)] != shape):
            wanted = f"{kind} of shape {shape}" if shape is not None else kind
            raise SegmentMismatch(
                f"shared memory {name} holds {layout.kind} of shape {layout.shape}, expected {wanted}"
            )
    except SegmentMismatch:
        memory.close()
        raise
    return Segment(memory, layout, status)


def _read_layout(name: str, memory: _Untracked) -> Layout:
    if memory.size < HEADER_SIZE:
        raise SegmentMismatch(f"shared memory {name} has {memory.size} bytes, expected a header of {HEADER_SIZE}")
    magic, version, kind, total, *shape = _HEADER.unpack_from(memory.bytes)
    if magic != MAGIC or version != LAYOUT_VERSION:
        raise SegmentMismatch(f"shared memory {name} is not of layout version {LAYOUT_VERSION} of this program")
    if total != memory.size:
        raise SegmentMismatch(f"shared memory {name} has {memory.size} bytes, its header says {total}")
    return Layout(kind.rstrip(b"\0").decode("ascii", "replace"), tuple(shape), total - HEADER_SIZE)


def create(name: str, layout: Layout) -> Segment:
    """Create segment `name`, zero-filled, replacing whatever has that name; others never see it half made.

    Raises SharedMemoryFull where /dev/shm lacks the room (instead of a bus error at the first write), and
    SharedMemoryDenied where the name is another user's.
    """
    unfinished = f"{name}.{os.getpid()}.new"
    remove(unfinished)
    total = HEADER_SIZE + layout.size
    try:
        memory = _Untracked(unfinished, create=True, size=total)
    except OSError as error:
        raise SharedMemoryDenied(f"{SHM_DIR / unfinished}: {error.strerror}") from None
    try:
        _allocate(unfinished, total)
        memory.bytes[: _HEADER.size] = layout.header()
        (SHM_DIR / unfinished).rename(SHM_DIR / name)
    except PermissionError:
        remove(unfinished)
        raise SharedMemoryDenied(
            f"{SHM_DIR / name} belongs to another user; remove it or set VMAFX_SIDECAR_INSTANCE"
        ) from None
    except BaseException:
        remove(unfinished)
        raise
    finally:
        memory.close()
    return attach(name, layout.kind)


def _allocate(name: str, size: int) -> None:
    fd = os.open(SHM_DIR / name, os.O_RDWR)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        free = os.statvfs(SHM_DIR)
        raise SharedMemoryFull(
            f"{SHM_DIR} has no room for {size:,} bytes ({free.f_bavail * free.f_frsize:,} free): {error.strerror}; "
            "enlarge it (docker --shm-size, a memory-backed emptyDir) or lower VMAFX_SIDECAR_REPLAY_CAPACITY"
        ) from None
    finally:
        os.close(fd)


def attach_or_create(
    name: str, layout: Layout, *, fits: Callable[[Layout], bool] | None = None
) -> tuple[Segment, bool]:
    """Attach to `name` where it is this user's and has exactly `layout`, or one that `fits`; else create it.

    Returns the segment and whether it is new. Raises SharedMemoryUnusable where that is impossible. To attach needs no
    room.
    """
    with _creating(name):
        for unfinished in SHM_DIR.glob(f"{name}.*.new"):
            remove(unfinished.name)  # of a process that died in `create`
        with contextlib.suppress(SegmentAbsent, SegmentMismatch):
            found = attach(name, layout.kind)
            if found.owner == os.geteuid() and (
                found.layout.header() == layout.header() or (fits is not None and fits(found.layout))
            ):
                return found, False
            found.close()
        return create(name, layout), True


@contextlib.contextmanager
def _creating(name: str) -> Iterator[None]:
    """Let one process at a time decide whether `name` has to be made. The lock goes with a process that dies."""
    fd = take_lock(name, locks.FOREVER)
    try:
        yield
    finally:
        os.close(fd)


def take_lock(name: str, patience: float = 0.0) -> int:
    """Take the lock of `name`, making its file where there is none; return the descriptor, with which it is given back.

    Raises BlockingIOError where another process has it for more than `patience` seconds, and SharedMemoryDenied where
    another user has put something in its place.
    """
    path = SHM_DIR / f"{name}.lock"
    try:
        return locks.take(path, patience)
    except BlockingIOError:
        raise
    except OSError as error:
        raise SharedMemoryDenied(f"{path}: {error.strerror}") from None


def remove(name: str) -> bool:
    """Unlink segment `name`; processes that are attached keep their mapping. Return whether it existed."""
    try:
        (SHM_DIR / name).unlink()
    except FileNotFoundError:
        return False
    return True
