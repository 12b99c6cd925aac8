"""Out of shared memory, of which no process of the sidecar is a writer meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.config import Settings
from pipeline.forgetting.saved import without_names, without_rows
from pipeline.forgetting.selection import Selection
from pipeline.runtime import regions
from pipeline.shm import byte_ring, reservoir, ring, segment
from pipeline.shm.byte_ring import ByteRing
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.segment import Segment, SegmentAbsent


def remove(settings: Settings, selection: Selection, *, only_count: bool = False) -> dict[str, int]:
    """Remove samples from every region that there is; return how many, by region.

    Raises SegmentError where a region is none of this release.
    """
    looks: dict[str, tuple[str, Callable[[Segment], int]]] = {
        "ring": (ring.KIND, lambda found: _ring(found, selection, only_count=only_count)),
        "lines": (byte_ring.KIND, lambda found: _lines(found, selection, only_count=only_count)),
        "reservoir": (reservoir.KIND, lambda found: _reservoir(found, selection, only_count=only_count)),
        "holdout": (reservoir.KIND, lambda found: _reservoir(found, selection, only_count=only_count)),
    }
    removed = {}
    for region, (kind, look) in looks.items():
        try:
            found = segment.attach(regions.name(settings.instance_name, region), kind)
        except SegmentAbsent:
            continue
        removed[region] = look(found)
    if not only_count:
        _rewrite(settings, "weights", without_rows)
        _rewrite(settings, "names", lambda payload: without_names(payload, selection))
    return removed


def _ring(found: Segment, selection: Selection, *, only_count: bool) -> int:
    rows = Ring(found.body, *found.layout.shape[:2])
    if only_count:
        return int(selection.rows(rows.snapshot()[0]).sum())
    return rows.remove(selection.rows)


def _reservoir(found: Segment, selection: Selection, *, only_count: bool) -> int:
    rows = Reservoir(found.body, *found.layout.shape[:2])
    if only_count:
        return int(selection.rows(rows.snapshot()).sum())
    return rows.remove(selection.rows)


def _lines(found: Segment, selection: Selection, *, only_count: bool) -> int:
    lines = ByteRing(found.body, found.layout.shape[0])
    if only_count:
        records = lines.read(lines.oldest, lines.capacity)
        return sum(selection.line(line, each.origin.arrival) for each in records for line in each.lines)
    return lines.blank(lambda line, origin: selection.line(line, origin.arrival))


def _rewrite(settings: Settings, region: str, change: Callable[[bytes], bytes]) -> None:
    """Make a mailbox region anew, with its value changed: no old value is left in its other slots."""
    try:
        mailbox, found = regions.attach_mailbox(settings, region)
    except SegmentAbsent:
        return
    try:
        letter = mailbox.read()
        payload = None if letter is None else change(letter.payload)
    except (Torn, msgspec.MsgspecError):
        payload = None  # nobody can read it: it is left out
    made = segment.create(found.name, found.layout)
    if payload is not None:
        Mailbox(made.body, made.layout.shape[0]).publish(payload)
