"""How well predictions agree with scores: RMSE, MAE, and the three correlations of quality assessment.

Each figure takes two equally long vectors and returns a float. A correlation is NaN where it does not exist: fewer than
two values, all of one side equal, or one not finite.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

MIN_GROUPS = 4
"""With fewer groups, how much groups differ cannot be estimated."""

SATURATED = 99.0
"""Score points from which on many frames have one and the same score, so that their order means little."""


def rmse(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the root mean squared error; NaN of nothing."""
    error = np.asarray(predicted, float) - np.asarray(score, float)
    return float(np.sqrt(np.mean(error**2))) if error.size else float("nan")


def mae(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return the mean absolute error; NaN of nothing."""
    error = np.abs(np.asarray(predicted, float) - np.asarray(score, float))
    return float(np.mean(error)) if error.size else float("nan")


def plcc(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return Pearson's linear correlation coefficient."""
    x, y = np.asarray(predicted, float), np.asarray(score, float)
    if x.size < 2 or not all(0 < np.ptp(side) < np.inf for side in (x, y)):
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1, 1))


def srocc(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return Spearman's rank-order correlation coefficient; equal values share their mean rank."""
    return plcc(mean_ranks(np.asarray(predicted)), mean_ranks(np.asarray(score)))


def srocc_under_99(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return Spearman's coefficient among the rows whose score does not saturate."""
    below = np.asarray(score) < SATURATED
    return srocc(np.asarray(predicted)[below], np.asarray(score)[below])


def krocc(predicted: npt.ArrayLike, score: npt.ArrayLike) -> float:
    """Return Kendall's rank-order correlation coefficient, tau-b (Kendall 1945), in O(n log² n)."""
    x, y = _dense_ranks(np.asarray(predicted)), _dense_ranks(np.asarray(score))
    if x.size < 2 or x.max() == 0 or y.max() == 0:
        return float("nan")
    pairs = x.size * (x.size - 1) // 2
    tied_x, tied_y, tied_both = _tied(x), _tied(y), _tied(x * (y.max() + 1) + y)
    discordant = _inversions(y[np.lexsort((y, x))])
    agreement = pairs - tied_x - tied_y + tied_both - 2 * discordant
    return float(np.clip(agreement / np.sqrt(float(pairs - tied_x)) / np.sqrt(float(pairs - tied_y)), -1, 1))


FIGURES: Mapping[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
    "plcc": plcc,
    "srocc": srocc,
    "srocc_under_99": srocc_under_99,
    "krocc": krocc,
    "rmse": rmse,
    "mae": mae,
}
"""Every figure of agreement, by the name that it has in reports."""


def agreement(
    predicted: npt.ArrayLike, score: npt.ArrayLike, figures: Iterable[str] = ("rmse", "plcc", "srocc")
) -> dict[str, float]:
    """Return figures of FIGURES by name, in that order; NaN where one does not exist."""
    return {name: FIGURES[name](predicted, score) for name in figures}


def parity_tolerance(expected: npt.NDArray[np.float32]) -> float:
    """Return by how many points the scores of two engines may differ for one model, where one of them says `expected`.

    Each sums float32 in an order of its own, and rounds otherwise: 1e-5 of the largest score are 84 units of a
    float32's last place. The 1e-3 points are for scores near zero, whose terms may be large and cancel.
    """
    return 1e-3 + 1e-5 * float(np.abs(expected).max())


def _dense_ranks(values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    ranks: npt.NDArray[np.int64] = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return ranks


def mean_ranks(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return the rank of each value, from 1 on; equal values share their mean rank."""
    ranks = _dense_ranks(values)
    counts = np.bincount(ranks)
    last = np.cumsum(counts)
    ranked: npt.NDArray[np.float64] = (last - (counts - 1) / 2)[ranks]
    return ranked


def _tied(ranks: npt.NDArray[np.int64]) -> int:
    """Return the number of pairs of equal values."""
    counts = np.unique(ranks, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _inversions(ranks: npt.NDArray[np.int64]) -> int:
    """Return the number of pairs i < j with ranks[i] > ranks[j], as a radix sort from the highest bit down meets them.

    With the values grouped by their higher bits, a pair of one group is out of order at this bit when the one comes
    before the zero.
    """
    total = 0
    for bit in range(int(ranks.max()).bit_length() - 1, -1, -1):
        group = ranks >> (bit + 1)
        ones = (ranks >> bit) & 1
        before = np.cumsum(ones) - ones
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        lengths = np.diff(starts, append=group.size)
        before_in_group = before - np.repeat(before[starts], lengths)
        total += int(before_in_group[ones == 0].sum())
        ranks = ranks[np.argsort(ranks >> bit, kind="stable")]
    return total
