"""What there is to share: the ring's rows that the trainer has seen, without those that nobody is to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.config import Settings
from pipeline.runtime import control, regions
from pipeline.runtime.control import ControlError, Orders
from pipeline.runtime.reports import Board, Follower, TrainerReport, UplinkReport
from pipeline.shm.exclusion import Exclusion, without
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import HELD_OUT, RowBatch
from pipeline.shm.segment import Segment, SegmentError


@dataclass(frozen=True)
class Batch:
    """Rows to send, of sequences `start` to before `end` of ring `ring`: all but `left_out`, which nobody is to have.

    `missed`: so many before them were written over before they could be read.
    """

    rows: RowBatch
    ring: int
    start: int
    end: int
    left_out: int
    missed: int


class Source:
    """Follows ring and trainer. Only the trainer says which groups are held out, so it goes first."""

    def __init__(self, settings: Settings, board: Board, before: UplinkReport) -> None:
        self._settings = settings
        self._trainer = Follower(board, "trainer", TrainerReport)
        self._ring: tuple[Ring, Segment] | None = None
        self._holdout: tuple[Reservoir, Segment] | None = None
        self._orders: Orders | None = None
        self._before = before.ring, before.cursor
        self._missed = 0
        self.cursor = 0

    @property
    def base(self) -> str:
        """Digest of the base model that is trained; empty while that is not known."""
        return self._trainer.report.base_digest

    @property
    def ring(self) -> int:
        """Which ring is read; 0 while there is none."""
        return self._ring[0].identity if self._ring else 0

    def look(self) -> int:
        """Return how many rows wait to be shared."""
        self._trainer.refresh()
        if self._ring is None or not self._ring[1].is_current():
            self._attach()
        if self._ring is None:
            return 0
        ring = self._ring[0]
        evicted = max(0, ring.oldest - self.cursor)
        self._missed += evicted
        self.cursor += evicted
        return max(0, min(ring.head, self._trainer.report.cursor) - self.cursor)

    def take(self, window: int) -> Batch | None:
        """Return the next rows, `window` at most, with those of held-out groups marked; None where there are none."""
        exclusions = self._exclusions()
        if self._ring is None or exclusions is None or not (found := self._read(self._ring[0], window)):
            return None
        wanted = without(found, exclusions)
        self._mark_held_out(wanted)
        end = self.cursor + len(found)
        batch = Batch(wanted, self.ring, self.cursor, end, len(found) - len(wanted), self._missed)
        self.cursor, self._missed = end, 0
        return batch

    def _read(self, ring: Ring, window: int) -> RowBatch | None:
        rows = RowBatch(window, ring.n_features)
        count = ring.read(self.cursor, rows)
        return rows.first(count).select(np.arange(count)) if count else None

    def _attach(self) -> None:
        try:
            self._ring = regions.attach_ring(self._settings)
        except SegmentError:
            self._ring = None
            return
        identity, cursor = self._before
        self.cursor = self._ring[0].position(identity, cursor) if identity else self._ring[0].restored
        self._before = 0, 0

    def _mark_held_out(self, rows: RowBatch) -> None:
        if self._holdout is None or not self._holdout[1].is_current():
            try:
                self._holdout = regions.attach_reservoir(self._settings, "holdout", self._settings.holdout_capacity)
            except SegmentError:
                return
        rows.flags[np.isin(rows.group, self._holdout[0].groups())] |= np.uint32(HELD_OUT)

    def _exclusions(self) -> list[Exclusion] | None:
        """Return the rows that operators have quarantined; None where that cannot be known."""
        try:
            if self._orders is None:
                self._orders = Orders(self._settings)
            self._orders.refresh()
        except (ControlError, OSError):
            return None
        return control.exclusions(self._orders.control)
