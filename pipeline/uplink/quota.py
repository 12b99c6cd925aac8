"""How many samples are shared, and which: no more than a rate, and of every group alike."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import RowBatch

_SAVED_S = 60.0
"""A quota that was not used is kept for so many seconds, and a sample waits as long for its turn."""
_LEAST = 256.0


class Quota:
    """A token bucket: `rate` a second, and what was saved up, no less than a message.

    What will be its turn within as long waits for it, but not more than `patience` samples: the rest is left out.
    """

    def __init__(self, rate: float, patience: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._most = max(_LEAST, rate * _SAVED_S)
        self._patience = int(min(patience, self._most))
        self._left, self._at = 0.0, clock()

    def left(self) -> int:
        """Return how many may be sent now."""
        now = self._clock()
        self._left = min(self._most, self._left + self._rate * (now - self._at))
        self._at = now
        return int(self._left)

    def use(self, count: int) -> None:
        """Take note that so many are sent."""
        self._left -= count

    def window(self, behind: int, allowed: int, most: int) -> int:
        """Return out of how many samples the next `most`, or the fewer that are `allowed`, are to be chosen.

        `behind` samples wait. Where all of them can wait, none is left out.
        """
        too_many = behind - self._patience
        if too_many <= 0:
            return min(behind, allowed, most)
        return too_many if allowed <= most else min(behind, max(most, too_many * most // allowed))


def spread(rows: RowBatch, count: int) -> NDArray[np.bool_]:
    """Choose `count` rows, bool[n]: of each group one, then of each a second one, and so on.

    Within a group the keys decide, which are as good as random, so the same rows always give the same choice.
    """
    if count >= len(rows):
        return np.ones(len(rows), np.bool_)
    order = np.lexsort((rows.key, rows.group))
    groups = rows.group[order]
    starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    rank = np.arange(len(rows)) - np.repeat(starts, np.diff(np.append(starts, len(rows))))
    chosen = np.zeros(len(rows), np.bool_)
    chosen[order[np.lexsort((rows.key[order], rank))[:count]]] = True
    return chosen
