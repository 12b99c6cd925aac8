"""Random numbers in blocks: drawing one index at a time costs more than a whole train step's arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1024


class RandomIndices:
    """Uniform numbers in [0, 1), of which `made` were handed out; the same seed and count give the same numbers."""

    def __init__(self, seed: int, made: int = 0) -> None:
        self._seed = seed
        self.made = made

    @property
    def made(self) -> int:
        """Number of draws made; setting it goes on as if as many had been made."""
        return self._start + self._used

    @made.setter
    def made(self, made: int) -> None:
        self._bits = np.random.PCG64(self._seed)
        self._bits.advance(made)
        self._numbers = np.random.Generator(self._bits)
        self._block: NDArray[np.float64] = np.empty(0)
        self._start, self._used = made, 0
        # The block as indices, by their bound: ranges change rarely, and mostly one of two at a time.
        self._scaled: dict[int, NDArray[np.int64]] = {}

    def indices(self, count: int, below: int) -> NDArray[np.int64]:
        """Return `count` independent indices in 0..below-1, to be read only."""
        if self._used + count > len(self._block):
            self._renew(count)
        scaled = self._scaled.get(below)
        if scaled is None:
            scaled = self._scaled[below] = (self._block * below).astype(np.int64)
        used = self._used
        self._used = used + count
        return scaled[used : self._used]

    def _renew(self, count: int) -> None:
        """Take a new block, which begins with what is left of the last one."""
        self._bits.advance(self._used - len(self._block))
        self._start += self._used
        self._used = 0
        self._block = self._numbers.random(max(_BLOCK, count))
        self._scaled.clear()
