"""Pools frames by the second or over the clip, by the means that libvmaf's `pooled_metrics` have."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.libvmaf.block import Block

FRAME, SECOND, CLIP = "frame", "second", "clip"
MEAN, HARMONIC = "mean", "harmonic_mean"

_Values = npt.NDArray[np.float64]


class Pool:
    """Frames in, one row for each second or for the clip out; the row of a frame is the frame.

    libvmaf's harmonic mean of x is n / sum(1 / (x + 1)) - 1, which zeros do not break. The number of a second is
    its own, counted from 0; that of a clip is 0.
    """

    def __init__(self, by: str = FRAME, how: str = MEAN, frame_rate: float = 0.0) -> None:
        self._by = by
        self._how = how
        self._frame_rate = frame_rate
        self._number = -1
        self._count = 0
        self._sum: _Values = np.empty(0)
        self._names: tuple[str, ...] = ()

    def add(self, block: Block) -> Block:
        """Return the rows that are complete, now that frames with higher numbers have come."""
        if self._by == FRAME or not len(block):
            return block
        self._names = tuple(block.columns)
        numbers, counts, sums = self._grouped(block)
        if self._count and numbers[0] == self._number:
            counts[0] += self._count
            sums[0] += self._sum
        elif self._count:
            numbers = np.concatenate(([self._number], numbers))
            counts = np.concatenate(([self._count], counts))
            sums = np.concatenate((self._sum[np.newaxis], sums))
        self._number, self._count, self._sum = int(numbers[-1]), int(counts[-1]), sums[-1]
        return self._pooled(numbers[:-1], counts[:-1], sums[:-1])

    def flush(self) -> Block | None:
        """Return the last row; None where there is none."""
        if not self._count:
            return None
        last = self._pooled(np.array([self._number]), np.array([self._count]), self._sum[np.newaxis])
        self._count = 0
        return last

    def _grouped(self, block: Block) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], _Values]:
        """Return number, count and sum [.., columns] of each second or clip that the block has frames of."""
        values = np.column_stack(list(block.columns.values()))
        if self._how == HARMONIC:
            with np.errstate(divide="ignore"):
                values = 1 / (values + 1)
        if self._by == CLIP:
            keys = np.zeros(len(block), np.int64)
        else:
            keys = (block.numbers // self._frame_rate).astype(np.int64)
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        return keys[starts], np.diff(starts, append=len(keys)), np.add.reduceat(values, starts)

    def _pooled(self, numbers: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], sums: _Values) -> Block:
        of_each = counts[:, np.newaxis]
        values = of_each / sums - 1 if self._how == HARMONIC else sums / of_each
        return Block(numbers, dict(zip(self._names, values.T, strict=True)))
