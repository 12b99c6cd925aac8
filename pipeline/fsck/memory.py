"""The shared-memory regions of one instance, running or left behind, looked at as a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
import numpy as np

from pipeline.fsck.finding import Finding
from pipeline.runtime import messages, regions
from pipeline.shm import byte_ring, reservoir, ring, segment
from pipeline.shm.byte_ring import ByteRing, Lapped, Record
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import Segment, SegmentAbsent, SegmentMismatch

# A writer at work may write over rows while they are copied: look again.
_ATTEMPTS = 20


def check(instance: str) -> Iterator[Finding]:
    """Look at every region that `instance` has."""
    for region, kind, look in (
        ("ring", ring.KIND, _ring),
        ("lines", byte_ring.KIND, _lines),
        ("names", regions.MAILBOX_KIND, _decodes(messages.decode_names)),
        ("reservoir", reservoir.KIND, _reservoir),
        ("holdout", reservoir.KIND, _reservoir),
        ("model", regions.MAILBOX_KIND, _decodes(messages.decode_model)),
        ("weights", regions.MAILBOX_KIND, _decodes(messages.decode_snapshot)),
    ):
        try:
            found = segment.attach(regions.name(instance, region), kind)
        except SegmentAbsent:
            continue
        except SegmentMismatch as error:
            yield Finding(region, False, str(error))
        else:
            yield Finding(region, *look(found))
            found.close()


Verdict = tuple[bool, str]


def _ring(found: Segment) -> Verdict:
    capacity, n_features = found.layout.shape[:2]
    looked_at = Ring(found.body, capacity, n_features)
    verdict = (False, "")
    for _ in range(_ATTEMPTS):
        oldest = looked_at.oldest
        rows, head = looked_at.snapshot()
        verdict = _judge_ring(rows, oldest, head)
        if verdict[0]:
            break
    return verdict


def _judge_ring(rows: RowBatch, oldest: int, head: int) -> Verdict:
    newest = rows.sequence[rows.sequence >= oldest]
    missing = head - oldest - len(newest)
    if missing or not np.array_equal(rows.sequence, np.arange(head - len(rows), head)):
        return False, f"{missing:,} of the samples {oldest:,} to {head:,} are missing"
    return _judge_rows(rows, f"{head - oldest:,} newest of {head:,} samples are there")


def _lines(found: Segment) -> Verdict:
    looked_at = ByteRing(found.body, found.layout.shape[0])
    for _ in range(_ATTEMPTS):
        position, head = looked_at.oldest, looked_at.head
        try:
            records = looked_at.read(position, head - position)
        except Lapped:
            continue
        return _judge_lines(records, head)
    return False, f"its writer is faster than {_ATTEMPTS} looks"


def _judge_lines(records: list[Record], head: int) -> Verdict:
    if records and records[-1].end < head:
        return False, f"{head - records[-1].end:,} bytes behind the newest whole record are none"
    for one, other in pairwise(records):
        if one.origin.ring == other.origin.ring and one.origin.first + len(one.lines) != other.origin.first:
            return False, f"lines of the samples before {other.origin.first:,} are missing"
    return True, f"{sum(len(record.lines) for record in records):,} newest lines are there"


def _reservoir(found: Segment) -> Verdict:
    capacity, n_features = found.layout.shape[:2]
    looked_at = Reservoir(found.body, capacity, n_features)
    for _ in range(_ATTEMPTS):
        expected, rows = len(looked_at), looked_at.snapshot()
        if len(rows) >= expected:
            return _judge_rows(rows, f"{len(rows):,} rows of {len(np.unique(rows.group)):,} groups")
    return False, f"{expected - len(rows):,} of {expected:,} rows are incomplete"


def _judge_rows(rows: RowBatch, good: str) -> Verdict:
    kept = rows.select(~np.isnan(rows.score))  # the others were forgotten
    bad = ~(np.isfinite(kept.features).all(axis=1) & (kept.score >= 0) & (kept.score <= 100))
    return (
        (False, f"{int(bad.sum()):,} rows have non-finite features or a score outside 0 to 100")
        if bad.any()
        else (True, good)
    )


def _decodes(decode: Callable[[bytes], object]) -> Callable[[Segment], Verdict]:
    def look(found: Segment) -> Verdict:
        try:
            letter = Mailbox(found.body, found.layout.shape[0]).read()
            if letter is None:
                return True, "nothing published yet"
            decode(letter.payload)
        except (Torn, msgspec.MsgspecError) as error:
            return False, str(error)
        return True, f"publication {letter.version:,}, {len(letter.payload):,} bytes, whole"

    return look
