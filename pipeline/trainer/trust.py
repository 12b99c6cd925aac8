"""Which nodes' scores fit those of the others: nothing is learned from, or judged by, a node whose scores do not.

Each row is predicted before it is learned from. A node that lies, or measures wrongly, goes on being predicted badly
however much of it was learned, while the others are predicted well: its scores contradict theirs, or are noise. Content
that is merely new is not like that: once learned from, it is predicted better than by the base model. The rule
compares with the median node, so fewer than half of the nodes cannot turn it against the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.shm.rows import RowBatch

MIN_NODES = 3
"""Fewer nodes have no majority."""
_ENOUGH = 1000
"""Rows of a node before anything is said of it."""
_REMEMBERED = 1000
"""What counts of a node are about its newest rows: twice as many at most."""
_WORSE, _WORSE_POINTS = 4.0, 2.0
"""A node does not fit if its mean absolute error is above so many times the median node's, and so many points more,"""
_LEARNED = 0.75
"""and above this share of the base model's error on its rows."""
_AGAIN, _AGAIN_POINTS = 2.0, 1.0
"""It fits again below these."""
_LARGEST = 50.0
"""No error counts for more points; one that is not finite counts for as many."""
_SENSELESS = 200.0
"""Where a trained base model is off by more points, on a scale of 100, the features are not of a picture. Models agree
on no such row, and one of them, held out, decides alone whether a model is better than another."""
_MOST_NODES = 4096


class NodeTrust:
    """Follows each node's errors; `distrusted` are the nodes (hashes) whose scores do not fit.

    `is_trained`: whether the base model knows anything of scores.
    """

    def __init__(self, *, is_trained: bool = True) -> None:
        self._limit = _SENSELESS if is_trained else float(np.finfo(np.float32).max)
        self.distrusted: frozenset[int] = frozenset()
        self._nodes: dict[int, int] = {}
        self._sums = np.zeros((_MOST_NODES, 3))
        """float64[node, (rows, absolute errors of the model, of the base model)]"""

    def add(self, rows: RowBatch, error: NDArray[np.float32], base_error: NDArray[np.float32]) -> None:
        """Take in by how much, float32[n], model and base model were off on rows that nothing was learned from yet."""
        places = [self._place(node) for node in rows.node.tolist()]
        told = np.stack((np.ones(len(rows)), np.abs(error), np.abs(base_error)), axis=1)
        known = np.array(places) >= 0
        np.add.at(self._sums, np.array(places)[known], np.fmin(told[known], _LARGEST))

    def make_sense(self, base_error: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell by how much the base model is off, float32[n], which rows may be samples of pictures, bool[n]."""
        sensible: NDArray[np.bool_] = np.abs(base_error) <= self._limit
        return sensible

    def review(self) -> bool:
        """Decide anew whose scores fit; return whether that has changed."""
        nodes = np.fromiter(self._nodes, np.uint64, len(self._nodes))
        sums = self._sums[: len(nodes)]
        sums[sums[:, 0] >= 2 * _REMEMBERED] /= 2
        enough = sums[:, 0] >= _ENOUGH
        if enough.sum() < MIN_NODES:
            return False
        nodes, (error, base_error) = nodes[enough], (sums[enough, 1:] / sums[enough, :1]).T
        usual = float(np.partition(error, (len(error) - 1) // 2)[(len(error) - 1) // 2])
        before = self._are_distrusted(nodes)
        unlike = (error > _WORSE * usual + _WORSE_POINTS) & (error > _LEARNED * base_error)
        after = np.where(before, error > _AGAIN * usual + _AGAIN_POINTS, unlike)
        if 2 * after.sum() >= len(after):
            return False
        changed = bool((after != before).any())
        self.distrusted = self.distrusted - set(nodes[before].tolist()) | set(nodes[after].tolist())
        return changed

    def without_distrusted(self, rows: RowBatch) -> RowBatch:
        """Return the rows of nodes whose scores fit, as far as is known: a copy, or `rows` where that is all."""
        if not self.distrusted:
            return rows
        unwanted = self._are_distrusted(rows.node)
        return rows.select(~unwanted) if unwanted.any() else rows

    def _are_distrusted(self, nodes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        return np.isin(nodes, np.array(list(self.distrusted), np.uint64))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` goes on from: flat arrays by name, as long as they can get."""
        nodes = np.zeros(_MOST_NODES, np.uint64)
        nodes[: len(self._nodes)] = list(self._nodes)
        distrusted = self._are_distrusted(nodes).astype(np.uint8)
        return {"nodes": nodes, "sums": self._sums.ravel().copy(), "distrusted": distrusted}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from a `state`; one of an earlier release has nothing of it."""
        if not state:
            return
        nodes = state["nodes"][state["nodes"] != 0].tolist()
        self._nodes = {node: place for place, node in enumerate(nodes)}
        self._sums[:] = state["sums"].reshape(self._sums.shape)
        self.distrusted = frozenset(state["nodes"][state["distrusted"] != 0].tolist())

    def _place(self, node: int) -> int:
        """Return where a node's sums are; -1 for one that is not named, or one too many."""
        if node and len(self._nodes) < _MOST_NODES:
            return self._nodes.setdefault(node, len(self._nodes))
        return self._nodes.get(node, -1)
