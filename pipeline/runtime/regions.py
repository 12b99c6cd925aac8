"""The sidecar's shared-memory regions by name: who makes each, and how the others attach.

reports, journal                       all roles, one mailbox each
ring, lines, names, stream             ingest
reservoir, holdout, weights, model     trainer
stable                                 exporter
control                                commands, one at a time

A region is a file `vmafx-<instance>-<region>` in /dev/shm; beside it lie the lock under which it is made, for each role
a lock and a bell, which ends its wait, and lock and directory of `run`. No region has a `-` in its name, so an instance
may.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pipeline.config import Settings
from pipeline.runtime import reports
from pipeline.runtime.reports import KIND, ROLES, Board
from pipeline.shm import segment
from pipeline.shm.bell import Bell
from pipeline.shm.byte_ring import KIND as LINES_KIND
from pipeline.shm.byte_ring import ByteRing
from pipeline.shm.mailbox import Mailbox, Torn, Versioned
from pipeline.shm.reservoir import KIND as RESERVOIR_KIND
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import KIND as RING_KIND
from pipeline.shm.ring import Ring
from pipeline.shm.segment import SHM_DIR, Layout, Segment, SegmentAbsent, SegmentError

PREFIX = "vmafx-"
MAILBOX_KIND = "mailbox"
NAMES = (
    KIND,
    "journal",
    "ring",
    "lines",
    "names",
    "reservoir",
    "holdout",
    "weights",
    "model",
    "stable",
    "control",
    "stream",
)
"""Every region that an instance may have."""

RUN, STILL = "run", "still"
_ENTRY = re.compile(
    rf"{PREFIX}(?P<instance>[A-Za-z0-9_-]+)-(?:"
    rf"(?P<part>{'|'.join((*NAMES, RUN, STILL))})(?:\.lock|\.\d+\.new)?|(?:{'|'.join(ROLES)})\.(?:role\.lock|bell))"
)


@dataclass(frozen=True)
class Opened:
    """A region's segment, and whether this call made it."""

    segment: Segment
    is_new: bool


def name(instance: str, region: str) -> str:
    """Return the segment name of `region`."""
    return f"{PREFIX}{instance}-{region}"


def open_board(settings: Settings) -> Board:
    """Attach to the reports region, making it where there is none."""
    made, _ = segment.attach_or_create(name(settings.instance_name, "reports"), reports.layout())
    return Board(made)


def attach_board(instance: str) -> Board:
    """Attach to the reports region of a running sidecar. Raises SegmentError where there is none."""
    layout = reports.layout()
    return Board(segment.attach(name(instance, "reports"), layout.kind, layout.shape))


def bell(settings: Settings, board: Board, role: str) -> Bell:
    """Open the bell of `role`, making it where there is none."""
    return Bell(name(settings.instance_name, f"{role}.bell"), board.waiting(role))


def own_ring(settings: Settings) -> tuple[Ring, Opened]:
    """Attach to the ring as its writer, making it where there is none of this shape."""
    made, is_new = segment.attach_or_create(
        name(settings.instance_name, "ring"), Ring.layout(settings.replay_capacity, settings.n_features)
    )
    ring = Ring(made.body, settings.replay_capacity, settings.n_features)
    ring.open_writer()
    return ring, Opened(made, is_new)


def attach_ring(settings: Settings) -> tuple[Ring, Segment]:
    """Attach to the ring as a reader. Raises SegmentAbsent until ingest has made and filled it."""
    shape = (settings.replay_capacity, settings.n_features)
    found = segment.attach(name(settings.instance_name, "ring"), RING_KIND, shape)
    ring = Ring(found.body, *shape)
    if not ring.identity:
        raise SegmentAbsent(f"shared memory {found.name} is being filled")
    return ring, found


def own_lines(settings: Settings) -> tuple[ByteRing, Opened]:
    """Attach to the ring of bytes as its writer, making it where there is none of this size."""
    layout = ByteRing.layout(lines_capacity(settings))
    made, is_new = segment.attach_or_create(name(settings.instance_name, "lines"), layout)
    lines = ByteRing(made.body, layout.shape[0])
    lines.open_writer()
    return lines, Opened(made, is_new)


def attach_lines(settings: Settings) -> tuple[ByteRing, Segment]:
    """Attach to the ring of bytes as a reader. Raises SegmentAbsent until ingest has made it."""
    found = segment.attach(name(settings.instance_name, "lines"), LINES_KIND)
    lines = ByteRing(found.body, found.layout.shape[0])
    if not lines.identity:
        raise SegmentAbsent(f"shared memory {found.name} is being made")
    return lines, found


def lines_capacity(settings: Settings) -> int:
    """Return the bytes of the ring of bytes: what is set, but room for four of the longest lines at least."""
    return max(settings.archive_buffer_bytes, 4 * (settings.max_line_bytes + ByteRing.RECORD_BYTES)) // 8 * 8


def remove_lines(settings: Settings) -> None:
    """Remove the ring of bytes that a sidecar with an archive has left."""
    segment.remove(name(settings.instance_name, "lines"))


def own_reservoir(settings: Settings, region: str, capacity: int) -> tuple[Reservoir, Opened]:
    """Attach to a reservoir region as its writer, making it where there is none of this shape."""
    made, is_new = segment.attach_or_create(
        name(settings.instance_name, region), Reservoir.layout(capacity, settings.n_features)
    )
    reservoir = Reservoir(made.body, capacity, settings.n_features)
    reservoir.open_writer()
    return reservoir, Opened(made, is_new)


def attach_reservoir(settings: Settings, region: str, capacity: int) -> tuple[Reservoir, Segment]:
    """Attach to a reservoir region as a reader. Raises SegmentAbsent until the trainer has made it."""
    shape = (capacity, settings.n_features)
    found = segment.attach(name(settings.instance_name, region), RESERVOIR_KIND, shape)
    return Reservoir(found.body, *shape), found


def own_mailbox(settings: Settings, region: str, capacity: int, spare: int = 0) -> tuple[Mailbox, Opened]:
    """Attach to a mailbox region as its writer, making it where there is none with room for `capacity` bytes.

    A new one has room for `spare` bytes more: the next life may need a little more, and then finds it.
    """
    made, is_new = segment.attach_or_create(
        name(settings.instance_name, region),
        Layout(MAILBOX_KIND, (capacity + spare,), Mailbox.size(capacity + spare)),
        fits=lambda found: found.shape[0] >= capacity and found.size == Mailbox.size(found.shape[0]),
    )
    return Mailbox(made.body, made.layout.shape[0]), Opened(made, is_new)


def attach_mailbox(settings: Settings, region: str) -> tuple[Mailbox, Segment]:
    """Attach to a mailbox region as a reader. Raises SegmentAbsent until its writer has made it."""
    found = segment.attach(name(settings.instance_name, region), MAILBOX_KIND)
    return Mailbox(found.body, found.layout.shape[0]), found


class MailboxFollower:
    """Reads a mailbox region, also where its writer replaces it, and returns each value once."""

    def __init__(self, settings: Settings, region: str) -> None:
        self._settings, self._region = settings, region
        self._attached: tuple[Mailbox, Segment] | None = None
        self._version = 0

    @property
    def has_newer(self) -> bool:
        """Whether the region that was read last has another value: no more than a look at memory."""
        return self._attached is not None and self._attached[0].version != self._version

    def attach(self) -> bool:
        """Attach to the region as it is now; return whether there is one."""
        if self._attached is None or not self._attached[1].is_current():
            self._version = 0
            try:
                self._attached = attach_mailbox(self._settings, self._region)
            except SegmentError:
                self._attached = None
        return self._attached is not None

    def newer(self) -> Versioned | None:
        """Return the latest value; None where it was returned before, is not whole, or there is no region."""
        if not self.attach() or self._attached is None or not self.has_newer:
            return None
        try:
            newest = self._attached[0].read()
        except Torn:
            return None
        self._version = newest.version if newest is not None else 0
        return newest


def instances() -> list[str]:
    """Return the names of all instances that have a reports region on this machine."""
    return sorted(instance for instance, part, entry in _entries() if entry == name(instance, part) and part == KIND)


def with_leftovers() -> list[str]:
    """Return the names of all instances that have anything in shared memory."""
    return sorted({instance for instance, _, _ in _entries()})


def leftovers(instance: str) -> list[str]:
    """Return the names of everything that `instance` has in shared memory: regions, lock files, its run directory."""
    return sorted(entry for of, _, entry in _entries() if of == instance)


def _entries() -> Iterator[tuple[str, str, str]]:
    """Yield instance, part and name of each thing in shared memory that is a sidecar's, and of nothing else."""
    for path in SHM_DIR.iterdir():
        match = _ENTRY.fullmatch(path.name)
        if match:
            yield match["instance"], match["part"], path.name


def role_lock(instance: str, role: str) -> str:
    """Return the name of the lock that the process of `role` has for as long as it lives."""
    return f"{name(instance, role)}.role"


def still_lock(instance: str) -> str:
    """Return the name of the lock that keeps every process but the monitor from starting."""
    return name(instance, STILL)


def run_lock(instance: str) -> str:
    """Return the name of the lock that `vmafx-sidecar run` has for as long as it lives."""
    return name(instance, RUN)


@contextmanager
def claimed(instance: str) -> Iterator[list[str]]:
    """Take every lock of `instance` that is free, so that nothing of it starts meanwhile; yield who holds the others.

    Raises SharedMemoryDenied for an instance of another user.
    """
    locks = {RUN: run_lock(instance)} | {role: role_lock(instance, role) for role in ROLES}
    held: list[int] = []
    alive: list[str] = []
    try:
        for holder, lock in locks.items():
            try:
                held.append(segment.take_lock(lock))
            except BlockingIOError:
                alive.append(holder)
        yield alive
    finally:
        for fd in held:
            os.close(fd)


def forget_lives(board: Board, instance: str) -> None:
    """Clear what the reports say of processes of an earlier run; for `run`, before any process starts.

    The report of one that is still on its way out is left to it.
    """
    with claimed(instance) as alive:
        for role in ROLES:
            if role not in alive:
                _forget_life(board.box(role), role)


def _forget_life(box: Mailbox, role: str) -> None:
    with suppress(Torn):
        letter = box.read()
        payload = letter and reports.restored(role, letter.payload)
        if payload:
            box.publish(payload)
