"""Rows that an operator does not want to be learned from: by content group, by node, by time of arrival."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import RowBatch


@dataclass(frozen=True)
class Exclusion:
    """Rows of a group, of a node (hashes; None: of any) that arrived within a time (Unix seconds, `until` excluded)."""

    group: int | None = None
    node: int | None = None
    since: float = -math.inf
    until: float = math.inf

    def covers(self, rows: RowBatch) -> NDArray[np.bool_]:
        """Tell for each row whether it is one of these, bool[n]."""
        covered: NDArray[np.bool_] = (self.since <= rows.arrival) & (rows.arrival < self.until)
        if self.group is not None:
            covered &= rows.group == np.uint64(self.group)
        if self.node is not None:
            covered &= rows.node == np.uint64(self.node)
        return covered


def without(rows: RowBatch, excluded: Sequence[Exclusion]) -> RowBatch:
    """Return the rows that were not removed and that no exclusion covers: a copy, or `rows` where that is all."""
    covered = np.logical_or.reduce([np.isnan(rows.score), *(each.covers(rows) for each in excluded)])
    return rows.select(~covered) if covered.any() else rows
