"""Out of shared memory, of which no process of the sidecar is a writer meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from pipeline.config import Settings
from pipeline.forgetting import names as labels
from pipeline.forgetting.names import Hashes
from pipeline.forgetting.saved import without_names, without_rows, without_senders
from pipeline.forgetting.selection import Selection
from pipeline.runtime import messages, regions
from pipeline.shm import byte_ring, reservoir, ring, segment
from pipeline.shm.byte_ring import ByteRing
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import Segment, SegmentAbsent

_KINDS = {"ring": ring.KIND, "lines": byte_ring.KIND, "reservoir": reservoir.KIND, "holdout": reservoir.KIND}


class Content(NamedTuple):
    """What memory has of samples: hashes of names that will have no row left, their names, rows that say too little."""

    gone: Hashes
    names: frozenset[str]
    doubtful: int


def look(settings: Settings, selection: Selection) -> Content:
    """Look at memory before anything is removed. Raises SegmentError where a region is none of this release."""
    batches = [(rows, selection.rows(rows)) for rows in _batches(settings)]
    gone = labels.gone(batches, selection)
    names: set[str] = set()
    with suppress(SegmentAbsent, Torn, msgspec.MsgspecError):
        letter = regions.attach_mailbox(settings, "names")[0].read()
        known = msgspec.structs.asdict(messages.decode_names(letter.payload)) if letter is not None else {}
        names = {name for kind, of in known.items() for value, name in of.items() if value in gone.get(kind, ())}
    return Content(gone, frozenset(names), sum(selection.doubtful(rows) for rows, _ in batches))


def remove(settings: Settings, selection: Selection, gone: Hashes) -> dict[str, int]:
    """Remove samples, and names by their hashes, from every region that there is; return how many samples, by region.

    Raises SegmentError where a region is none of this release.
    """
    removed = {}
    for region, found in _regions(settings):
        rows = _rows(region, found)
        if isinstance(rows, ByteRing):
            removed[region] = rows.blank(lambda line, origin: selection.line(line, origin.arrival))
        else:
            removed[region] = rows.remove(selection.rows)
    _rewrite(settings, "weights", without_rows)
    _rewrite(settings, "names", lambda payload: without_names(payload, gone))
    _rewrite(settings, "stream", lambda payload: without_senders(payload, gone))
    return removed


def count(settings: Settings, selection: Selection) -> dict[str, int]:
    """Return how many samples `remove` would remove, by region. Raises SegmentError likewise."""
    found = {}
    for region, segment_of in _regions(settings):
        rows = _rows(region, segment_of)
        if isinstance(rows, ByteRing):
            records = rows.read(rows.oldest, rows.capacity)
            found[region] = sum(selection.line(line, each.origin.arrival) for each in records for line in each.lines)
        else:
            found[region] = int(selection.rows(_snapshot(rows)).sum())
    return found


def _regions(settings: Settings) -> Iterator[tuple[str, Segment]]:
    for region, kind in _KINDS.items():
        with suppress(SegmentAbsent):
            yield region, segment.attach(regions.name(settings.instance_name, region), kind)


def _rows(region: str, found: Segment) -> Ring | Reservoir | ByteRing:
    if region == "lines":
        return ByteRing(found.body, found.layout.shape[0])
    return (Ring if region == "ring" else Reservoir)(found.body, *found.layout.shape[:2])


def _snapshot(rows: Ring | Reservoir) -> RowBatch:
    return rows.snapshot()[0] if isinstance(rows, Ring) else rows.snapshot()


def _batches(settings: Settings) -> Iterator[RowBatch]:
    for region, found in _regions(settings):
        rows = _rows(region, found)
        if not isinstance(rows, ByteRing):
            yield _snapshot(rows)


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
