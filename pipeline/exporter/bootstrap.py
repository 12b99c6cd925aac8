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
        self._difference = np.abs(theirs) - np.abs(ours)
        self.gain = self._sums(self._difference) / self._size
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
        return _without_the_best(self.gain)

    def broad_gain_by(self, owner: npt.NDArray[np.integer]) -> float:
        """Return the same over owners int[n] of the rows, without one at least; one gains the mean of its groups."""
        who, whose = np.unique(owner, return_inverse=True)
        pairs, pair = np.unique(np.stack((whose, self._group)), axis=1, return_inverse=True)
        by_pair = np.bincount(pair, self._difference) / np.bincount(pair)
        gain = np.bincount(pairs[0], by_pair) / np.bincount(pairs[0], minlength=len(who))
        return _without_the_best(gain, at_least=1)

    def _sums(self, values: Values) -> Values:
        return np.bincount(self._group, values).astype(np.float64)


def _without_the_best(gain: Values, at_least: int = 0) -> float:
    """Return the mean without the quarter that gains most."""
    return float(np.sort(gain)[: len(gain) - max(at_least, len(gain) // 4)].mean())
