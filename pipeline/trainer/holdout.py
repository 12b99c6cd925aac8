"""Whole groups are held out of training, to judge on."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from pipeline.model.accuracy import MIN_GROUPS
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.rows import HELD_OUT, RowBatch

ONE_IN = 8
_PATIENCE = 1000


def is_held_elsewhere(rows: RowBatch) -> NDArray[np.bool_]:
    """Tell for each row whether its group is held out where it comes from, bool[n]."""
    held: NDArray[np.bool_] = rows.flags & np.uint32(HELD_OUT) != 0
    return held


class HoldOut:
    """Diverts about one group in eight, by its hash, to a reservoir of its own; of the first groups every second one.

    So is every group that was held out where its rows come from: who sent them judges by it what is learned here.

    A stream that has little but held-out groups (a single source, say) would never be learned; so no more than half of
    all rows are diverted, after the first thousand.
    """

    def __init__(self, reservoir: Reservoir, trained_on: Reservoir) -> None:
        self.reservoir = reservoir
        self._trained_on = trained_on
        self.trained = 0
        self.diverted = 0
        self.late: list[int] = []
        """Groups that the last rows said are held out elsewhere, and that were trained on here until then."""

    def __len__(self) -> int:
        return len(self.reservoir)

    def divert(self, rows: RowBatch, coin: Random) -> RowBatch:
        """Offer the rows of held-out groups to the reservoir; return the others, to train on."""
        held = self.belongs(rows)
        if self.reservoir.n_groups < MIN_GROUPS:
            held |= np.isin(rows.group, self._further(rows.group))
        if self.diverted > self.trained + _PATIENCE:
            held = is_held_elsewhere(rows)
        self.late = []
        if not held.any():
            self.trained += len(rows)
            return rows
        elsewhere = rows.group[is_held_elsewhere(rows)].tolist()
        self.late = [group for group in dict.fromkeys(elsewhere) if self._trained_on.holds(group)]
        diverted = rows.select(held)
        self.reservoir.offer(diverted, coin)
        self.diverted += len(diverted)
        self.trained += len(rows) - len(diverted)
        return rows.select(~held)

    def belongs(self, rows: RowBatch) -> NDArray[np.bool_]:
        """Tell for each row whether its group is held out, bool[n]: by its hash, or since it was chosen before."""
        chosen = np.fromiter(map(self.reservoir.holds, rows.group.tolist()), np.bool_, len(rows))
        held: NDArray[np.bool_] = chosen | (rows.group % np.uint64(ONE_IN) == 0) | is_held_elsewhere(rows)
        return held

    def _further(self, group: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return which of these groups to hold out since there are too few: new ones, in turn with those trained on."""
        held, trained = self.reservoir.n_groups, self._trained_on.n_groups
        chosen: list[int] = []
        for each in dict.fromkeys(group.tolist()):
            if self.reservoir.holds(each) or self._trained_on.holds(each):
                continue
            if each % ONE_IN == 0:
                held += 1
            elif held < min(MIN_GROUPS, trained):
                held += 1
                chosen.append(each)
            else:
                trained += 1
        return np.array(chosen, np.uint64)

    def view(self) -> RowBatch:
        """Return the held-out rows as they lie in the reservoir, valid until the next ones are diverted."""
        return RowBatch.over(self.reservoir.rows[: len(self.reservoir)], self.reservoir.n_features)

    def rows(self) -> RowBatch:
        """Return the held-out rows."""
        return self.reservoir.snapshot()
