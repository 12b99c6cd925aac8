"""Whole content groups are kept out of training, to judge by."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.reservoir import Reservoir
from pipeline.shm.rows import RowBatch

ONE_IN = 8
_PATIENCE = 1000


class HoldOut:
    """Diverts about one group in eight, by its hash, to a reservoir of its own.

    A stream that has little but held-out groups (a single source, say) would never be learned; so no more than half of
    all rows are diverted, after the first thousand.
    """

    def __init__(self, reservoir: Reservoir) -> None:
        self._reservoir = reservoir
        self.trained = 0
        self.diverted = 0

    def __len__(self) -> int:
        return len(self._reservoir)

    def divert(self, rows: RowBatch, coin: Random) -> RowBatch:
        """Offer the rows of held-out groups to the reservoir; return the others, to train on."""
        held = self.belongs(rows.group)
        if not held.any() or self.diverted > self.trained + _PATIENCE:
            self.trained += len(rows)
            return rows
        diverted = rows.select(held)
        self._reservoir.offer(diverted, coin)
        self.diverted += len(diverted)
        self.trained += len(rows) - len(diverted)
        return rows.select(~held)

    @staticmethod
    def belongs(group: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell for each group uint64[n] whether it is held out."""
        held: NDArray[np.bool_] = group % np.uint64(ONE_IN) == 0
        return held

    def rows(self) -> RowBatch:
        """Return the held-out rows."""
        return self._reservoir.snapshot()
