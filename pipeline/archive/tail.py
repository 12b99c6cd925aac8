"""Follows the ring of bytes: every record once and in order, and what was written over before it was read."""

from __future__ import annotations

from collections import deque

import msgspec

from pipeline.archive.position import Gap, Position
from pipeline.config import Settings
from pipeline.runtime import regions
from pipeline.runtime.reports import rfc3339
from pipeline.shm.byte_ring import ByteRing, Lapped, Record
from pipeline.shm.segment import Segment, SegmentError

_CHUNK_BYTES = 1 << 20
# The writer may write over what is being copied, so that the next try begins further on.
_ATTEMPTS = 20


class Tail:
    """Reads from where `position` says, which afterwards says what was taken, and what was found lost before it."""

    def __init__(self, settings: Settings, position: Position) -> None:
        self._settings = settings
        self._attached: tuple[ByteRing, Segment] | None = None
        self._copied: deque[Record] = deque()
        self._copied_to = 0
        self.position = position

    @property
    def capacity(self) -> int:
        """Bytes that the ring of bytes can hold; 0 while there is none."""
        return self._attached[0].capacity if self._attached else 0

    def beyond(self, position: Position) -> int:
        """Return how many bytes came after `position`, as far as they are in the ring of bytes."""
        if self._attached is None:
            return 0
        ring = self._attached[0]
        return ring.head - max(ring.oldest, position.offset if position.buffer == ring.identity else 0)

    def peek(self) -> Record | None:
        """Return the next record; None where there is none yet."""
        if not self._copied and self._attached is not None:
            self._copy(self._attached[0])
        if not self._copied and (self._attached is None or not self._attached[1].is_current()):
            self._attach()
        return self._copied[0] if self._copied else None

    def take(self) -> Record:
        """Return the next record, once; `peek` has seen it."""
        record = self._copied.popleft()
        origin, position = record.origin, self.position
        lost = self._lost_before(record, position.next)
        if lost:
            position = position.with_gap(
                Gap(origin.ring, origin.first - lost, origin.first - 1, rfc3339(origin.arrival))
            )
        self.position = msgspec.structs.replace(
            position,
            offset=record.end,
            ring=origin.ring,
            next=origin.first + len(record.lines),
            archived=position.archived + len(record.lines),
        )
        return record

    def overrun(self) -> int:
        """Return how many samples are lost already beyond those that were copied: `take` will find them missing."""
        if self._attached is None or self._attached[0].oldest <= self._copied_to:
            return 0
        ring = self._attached[0]
        try:
            oldest = ring.read(ring.oldest, 1)
        except Lapped:
            return 0  # the writer is at work there; the next look will tell
        last = self._copied[-1] if self._copied else None
        following = last.origin.first + len(last.lines) if last else self.position.next
        return self._lost_before(oldest[0], following) if oldest else 0

    def _lost_before(self, record: Record, expected: int) -> int:
        """Return how many samples are missing; a restored ring may begin with fewer than were taken."""
        return max(0, record.origin.first - expected) if self.position.ring else 0

    def _attach(self) -> None:
        """Attach to the ring of bytes, which ingest may have made anew."""
        try:
            ring, segment = regions.attach_lines(self._settings)
        except SegmentError:
            return
        self._attached = ring, segment
        if self.position.buffer != ring.identity:
            self.position = msgspec.structs.replace(self.position, buffer=ring.identity, offset=ring.oldest)
        self._copied_to = self.position.offset
        self._copy(ring)

    def _copy(self, ring: ByteRing) -> None:
        for _ in range(_ATTEMPTS):
            try:
                self._copied.extend(ring.read(self._copied_to, _CHUNK_BYTES))
            except Lapped:
                self._copied_to = ring.oldest
            else:
                self._copied_to = self._copied[-1].end if self._copied else self._copied_to
                return
