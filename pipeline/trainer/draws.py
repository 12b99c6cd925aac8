"""Random numbers in blocks: drawing one index at a time costs more than a whole train step's arithmetic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 8192


class Draws:
    """Uniform numbers in [0, 1), of which `made` were handed out; the same seed and count give the same numbers."""

    def __init__(self, seed: int, made: int = 0) -> None:
        self._seed = seed
        self.made = made
        self._block_at = -1
        self._block: NDArray[np.float64] = np.empty(0)

    def indices(self, count: int, below: int) -> NDArray[np.int64]:
        """Return `count` (at most a block's 8192) independent indices in 0..below-1."""
        return (self._uniform(count) * below).astype(np.int64)

    def _uniform(self, count: int) -> NDArray[np.float64]:
        block, start = divmod(self.made, _BLOCK)
        if start + count > _BLOCK:
            block, start = block + 1, 0
        if block != self._block_at:
            self._block = np.random.default_rng([self._seed, block]).random(_BLOCK)
            self._block_at = block
        self.made = block * _BLOCK + start + count
        return self._block[start : start + count]
