"""How far two models differ on rows that come in groups, and how much of it may be chance.

Noise is the chance of which groups are in the set: a paired bootstrap that draws whole groups with replacement (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13), because rows of one group are alike.
"""

import math
from statistics import NormalDist

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
        self.their_error = float((self._sums(np.abs(theirs)) / self._size).mean())
        """Their mean absolute error, every group counting the same."""
        self._drawn = _drawn(len(self._size))

    def rmse_difference(self, level: float) -> float:
        """Return a quantile of RMSE(ours) - RMSE(theirs) over all rows."""
        rows = self._size[self._drawn].sum(axis=1)
        ours, theirs = (np.sqrt(squares[self._drawn].sum(axis=1) / rows) for squares in self._squares)
        return float(np.quantile(ours - theirs, level))

    def mean_gain(self, level: float) -> float:
        """Return a lower bound of the mean of `gain` at a low level: groups count alike, whatever their size.

        The lower of the bootstrap's quantile and Student's: the first is too narrow of a few groups, the second where
        their gains are skew.
        """
        drawn = float(np.quantile(self.gain[self._drawn].mean(axis=1), level))
        return min(drawn, _students_bound(self.gain, level))

    def mean_gain_without_any(self, owner: npt.NDArray[np.integer], level: float) -> float:
        """Return the lowest of Student's bounds of the mean gain by group, each owner int[n] left out in turn."""
        return min(_students_bound(self._gain_of(owner != one), level) for one in np.unique(owner))

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

    def _gain_of(self, rows: npt.NDArray[np.bool_]) -> Values:
        """Return the gain by group on some of the rows."""
        size = np.bincount(self._group[rows], minlength=len(self._size))
        total = np.bincount(self._group[rows], self._difference[rows], len(self._size))
        gain: Values = total[size > 0] / size[size > 0]
        return gain

    def _sums(self, values: Values) -> Values:
        return np.bincount(self._group, values).astype(np.float64)


class PairedCorrelations:
    """How `ours` and `theirs` float64[n] correlate with `score` float64[n], on rows of groups `group` int[n].

    Given ranks, it is Spearman's correlation, of ranks among all rows. NaN where a correlation does not exist.
    """

    def __init__(self, ours: Values, theirs: Values, score: Values, group: npt.NDArray[np.integer]) -> None:
        index = np.unique(group, return_inverse=True)[1]
        drawn = _drawn(int(index.max()) + 1)
        self._ours, self._theirs = (_correlations(each, score, index, drawn) for each in (ours, theirs))

    def ours(self, level: float) -> float:
        """Return a quantile of our correlation."""
        return _quantile(self._ours, level)

    def theirs(self, level: float) -> float:
        """Return a quantile of theirs."""
        return _quantile(self._theirs, level)

    def difference(self, level: float) -> float:
        """Return a quantile of ours less theirs."""
        return _quantile(self._ours - self._theirs, level)


def _students_bound(gain: Values, level: float) -> float:
    """Return a quantile of the mean, by Student's distribution; -inf of a single value."""
    n = len(gain)
    if n < 2:
        return float("-inf")
    return float(gain.mean()) + student_quantile(level, n - 1) * float(gain.std(ddof=1)) / math.sqrt(n)


def student_quantile(level: float, freedom: int) -> float:
    """Return a quantile of Student's distribution, by Abramowitz & Stegun 26.7.5; within 5 % from three degrees on."""
    z = NormalDist().inv_cdf(level)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum((term * float(max(freedom, 1)) ** -power for power, term in enumerate(terms)), 0.0)


def _drawn(n_groups: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(n_groups, size=(RESAMPLES, n_groups))


def _correlations(
    predicted: Values, score: Values, index: npt.NDArray[np.intp], drawn: npt.NDArray[np.int64]
) -> Values:
    """Return the linear correlation in each of the draws of groups."""
    x, y = predicted - predicted.mean(), score - score.mean()
    n, sx, sy, sxx, syy, sxy = (
        np.bincount(index, each)[drawn].sum(axis=1) for each in (np.ones(len(x)), x, y, x * x, y * y, x * y)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Values = (sxy - sx * sy / n) / np.sqrt((sxx - sx**2 / n) * (syy - sy**2 / n))
    return found


def _quantile(values: Values, level: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.quantile(known, level)) if len(known) else float("nan")


def _without_the_best(gain: Values, at_least: int = 0) -> float:
    """Return the mean without the quarter that gains most."""
    return float(np.sort(gain)[: len(gain) - max(at_least, len(gain) // 4)].mean())
