"""The sidecar's shared-memory regions by name: who makes each, and how the others attach.

telemetry, journal                     all roles, one mailbox each
ring                                   ingest
reservoir, holdout, weights, model     trainer
stable                                 exporter

Beside them each role has a bell, which ends its wait.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from pipeline import telemetry
from pipeline.config import Settings
from pipeline.shm import segment
from pipeline.shm.bell import Bell
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import KIND as RESERVOIR_KIND
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import KIND as RING_KIND
from pipeline.shm.ring import Ring
from pipeline.shm.segment import SHM_DIR, Layout, Segment
from pipeline.telemetry import Board

PREFIX = "vmafx-"
MAILBOX_KIND = "mailbox"


@dataclass(frozen=True)
class Opened:
    """A region's segment, and whether this call made it."""

    segment: Segment
    is_new: bool


def name(instance: str, region: str) -> str:
    """Return the segment name of `region`."""
    return f"{PREFIX}{instance}-{region}"


def open_board(settings: Settings) -> Board:
    """Attach to the telemetry region, making it where there is none."""
    made, _ = segment.attach_or_create(name(settings.instance_name, "telemetry"), telemetry.layout())
    return Board(made)


def attach_board(instance: str) -> Board:
    """Attach to the telemetry region of a running sidecar. Raises SegmentError where there is none."""
    layout = telemetry.layout()
    return Board(segment.attach(name(instance, "telemetry"), layout.kind, layout.shape))


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
    """Attach to the ring as a reader. Raises SegmentAbsent until ingest has made it."""
    shape = (settings.replay_capacity, settings.n_features)
    found = segment.attach(name(settings.instance_name, "ring"), RING_KIND, shape)
    return Ring(found.body, *shape), found


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


def own_mailbox(settings: Settings, region: str, capacity: int) -> tuple[Mailbox, Opened]:
    """Attach to a mailbox region as its writer, making it where there is none with room for `capacity` bytes."""
    made, is_new = segment.attach_or_create(
        name(settings.instance_name, region), Layout(MAILBOX_KIND, (capacity,), Mailbox.size(capacity))
    )
    return Mailbox(made.body, capacity), Opened(made, is_new)


def attach_mailbox(settings: Settings, region: str) -> tuple[Mailbox, Segment]:
    """Attach to a mailbox region as a reader. Raises SegmentAbsent until its writer has made it."""
    found = segment.attach(name(settings.instance_name, region), MAILBOX_KIND)
    return Mailbox(found.body, found.layout.shape[0]), found


def instances() -> list[str]:
    """Return the names of all instances that have a telemetry region on this machine."""
    suffix = "-telemetry"
    return sorted(path.name[len(PREFIX) : -len(suffix)] for path in SHM_DIR.glob(f"{PREFIX}*{suffix}"))


def leftovers(instance: str) -> list[str]:
    """Return the names of everything that `instance` has in shared memory: regions, lock files, its run directory."""
    return sorted(path.name for path in SHM_DIR.glob(f"{PREFIX}{instance}-*"))


def forget_verdict(board: Board) -> None:
    """Clear what the monitor of an earlier run decided; for `run`, before any monitor starts."""
    report = board.monitor()
    if report.verdict:
        board.box("monitor").publish(msgspec.msgpack.encode(msgspec.structs.replace(report, verdict=0)))
