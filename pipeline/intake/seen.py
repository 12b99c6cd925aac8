"""Which rows came before: what `ingest.dedup.Deduplicator` tells of some rows at a time, here of thousands.

Hash tables in numpy take a third of the time of sets where blocks are that long, and many times as long for one row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]


class SeenKeys:
    """The keys of the `window` newest rows, and of some older ones.

    They lie in two tables in turn, so that to forget is to empty one.
    """

    def __init__(self, window: int, newest: Keys) -> None:
        """Start from the keys of `newest`, uint64[n]."""
        self._window = window
        self._newer, self._older = _Table(window), _Table(window)
        self.admit(newest)

    def admit(self, keys: Keys) -> NDArray[np.bool_]:
        """Remember `keys`, uint64[n]; tell which are new, bool[n]: of equal ones the first."""
        keys = np.maximum(keys, np.uint64(1))  # 0 is a cell that is free
        blocks = [self._admit(keys[start : start + self._window]) for start in range(0, len(keys), self._window)]
        return np.concatenate(blocks) if blocks else np.zeros(0, np.bool_)

    def _admit(self, keys: Keys) -> NDArray[np.bool_]:
        if self._newer.count >= self._window:
            self._newer, self._older = self._older, self._newer
            self._newer.clear()
        new = ~self._older.has(keys)
        new[new] = self._newer.add(keys[new])
        return new


class _Table:
    """A hash table with open addressing for up to twice `window` keys. A cell of 0 is free."""

    def __init__(self, window: int) -> None:
        bits = max(4, int(4 * window - 1).bit_length())
        self._cells = np.zeros(1 << bits, np.uint64)
        self._shift, self._mask = np.uint64(64 - bits), (1 << bits) - 1
        self.count = 0

    def clear(self) -> None:
        """Forget all keys."""
        self._cells.fill(0)
        self.count = 0

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell which keys are there, bool[n]."""
        found = np.zeros(len(keys), np.bool_)
        left, places = np.arange(len(keys)), self._first_places(keys)
        while len(left):
            there = self._cells[places]
            found[left] = is_it = there == keys
            further = np.flatnonzero(~is_it & (there != 0))
            left, keys, places = left[further], keys[further], self._next(places[further], keys[further])
        return found

    def add(self, keys: Keys) -> NDArray[np.bool_]:
        """Add keys; tell which were not there, bool[n]: of equal ones the first."""
        new = np.zeros(len(keys), np.bool_)
        left, places = np.arange(len(keys), dtype=np.uint64), self._first_places(keys)
        while len(left):
            free = np.flatnonzero(self._cells[places] == 0)
            wanted, claims = places[free], left[free]
            self._cells[wanted[::-1]] = claims[::-1]  # of those that want the same cell, the first has it
            won = self._cells[wanted] == claims
            new[claims[won]] = True
            self._cells[wanted[won]] = keys[free[won]]
            other = np.flatnonzero(self._cells[places] != keys)
            left, keys, places = left[other], keys[other], self._next(places[other], keys[other])
        self.count += int(new.sum())
        return new

    def _first_places(self, keys: Keys) -> Places:
        """Return the cells where to look first: by the upper bits, which are the good ones of a multilinear hash."""
        return (keys >> self._shift).astype(np.int64)

    def _next(self, places: Places, keys: Keys) -> Places:
        return (places + (keys | np.uint64(1)).view(np.int64)) & self._mask
