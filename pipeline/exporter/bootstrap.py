"""How far two models differ on rows that come in groups, and how much of it may be chance.

Noise is the chance of which groups are in the set: a paired bootstrap that draws whole groups with replacement (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13), because rows of one group are alike.
"""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES = 500


class PairedErrors:
    """The errors of two models, `ours` and `theirs` float64[n], on the same rows of groups `group` int[n]."""

    def __init__(self, ours: Values, theirs: Values, group: npt.NDArray[np.integer]) -> None:
        self._group = np.unique(group, return_inverse=True)[1]
        self._size = np.bincount(self._group).astype(float)
        self._squares = self._sums(ours**2), self._sums(theirs**2)
        self.gain = self._sums(np.abs(theirs) - np.abs(ours)) / self._size
        """How much lower our mean absolute error is, by group."""
        n_groups = len(self._size)
        self._drawn = np.random.default_rng(0).integers(n_groups, size=(RESAMPLES, n_groups))

    def rmse_difference(self, level: float) -> float:
        """Return a quantile of RMSE(ours) - RMSE(theirs) over all rows."""
        rows = self._size[self._drawn].sum(axis=1)
        ours, theirs = (np.sqrt(squares[self._drawn].sum(axis=1) / rows) for squares in self._squares)
        return float(np.quantile(ours - theirs, level))

    def mean_gain(self, level: float) -> float:
        """Return a quantile of the mean of `gain`: groups count alike, whatever their size."""
        return float(np.quantile(self.gain[self._drawn].mean(axis=1), level))

    def broad_gain(self) -> float:
        """Return the mean of `gain` without the quarter of the groups that gain most."""
        return float(np.sort(self.gain)[: len(self.gain) - len(self.gain) // 4].mean())

    def _sums(self, values: Values) -> Values:
        return np.bincount(self._group, values).astype(np.float64)
