"""Online ridge regression of a predictor's residual: its terms, the statistics that it keeps of them, and the fit."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.correction.captures import LARGEST, CorrectionError, number

WIDEST_QUADRATIC = 16
"""Columns up to which quadratic terms are formed: 16 columns are 152 terms, 80 would be 3320."""

_SMALLEST_VARIANCE = np.finfo(np.float64).tiny


class Settings(msgspec.Struct, frozen=True):
    """How a correction learns. A state learned with other settings is not used.

    Attributes:
        ridge: penalty on the squared weights of the standardised terms, in captures: the mean residual
            of n captures counts n / (n + ridge).
        forgetting: what the weight of every capture is multiplied with when a later one arrives; 1
            forgets nothing, 0.99 remembers about 100 captures.
        quadratic: learn squares and products of the columns too (up to `WIDEST_QUADRATIC` columns).

    """

    ridge: float = 1.0
    forgetting: float = 1.0
    quadratic: bool = True

    def __post_init__(self) -> None:
        """Refuse what no fit exists for."""
        if not 0.0 < self.ridge < np.inf:
            raise CorrectionError(f"ridge is {self.ridge}, a number above 0 is expected")
        if not 0.0 < self.forgetting <= 1.0:
            raise CorrectionError(f"forgetting is {self.forgetting}, a number above 0 and up to 1 is expected")


class Fit(msgspec.Struct, frozen=True):
    """Everything a model has learned, as plain numbers: aggregates of the rows, none of the rows but the first.

    Attributes:
        captures: number of rows learned.
        weight: their weights' sum, `captures` where nothing is forgotten.
        origin: the first row; squares and products are formed of deviations from it.
        low, high: the smallest and largest value seen of each column.
        mean: of each term and, last, of the residual.
        scatter: centred scatter matrix of the same, the lower triangle: row i has i + 1 values.

    """

    captures: int
    weight: float
    origin: list[float]
    low: list[float]
    high: list[float]
    mean: list[float]
    scatter: list[list[float]]


class Basis:
    """The columns, shifted by a fixed origin, and optionally all their squares and products.

    The origin lies within the data (it is the first row ever seen), so that a column and its square
    are not copies of each other, as they are for a column that varies little around a large mean.
    """

    def __init__(self, origin: NDArray[np.float64], quadratic: bool) -> None:
        """Take the origin, float64[n_columns]; wide rows get no quadratic terms."""
        self.origin = origin
        self._pairs = np.triu_indices(len(origin) if quadratic and len(origin) <= WIDEST_QUADRATIC else 0)
        self.n_terms = len(origin) + len(self._pairs[0])

    def expand(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64[n_columns] -> float64[n_terms]."""
        shifted = row - self.origin
        first, second = self._pairs
        return np.concatenate((shifted, shifted[first] * shifted[second]))


class Scatter:
    """Weighted count, mean and centred scatter matrix, sum of (v - mean)(v - mean)^T.

    The rank-1 update of Welford (1962) in its matrix form. It sums squares of deviations and never
    of raw values, so a column of mean 1e5 beside one of 1e-2 costs no digits.

    Attributes:
        weight: sum of the weights; each vector has weight 1 when it arrives, and `forgetting`
            times less with every later one.
        mean: float64[n].
        matrix: float64[n, n], symmetric.

    """

    def __init__(self, weight: float, mean: NDArray[np.float64], matrix: NDArray[np.float64]) -> None:
        self.weight = weight
        self.mean = mean
        self.matrix = matrix

    @classmethod
    def empty(cls, n: int) -> "Scatter":
        """Nothing seen yet, of vectors of length n."""
        return cls(0.0, np.zeros(n), np.zeros((n, n)))

    def with_vector(self, vector: NDArray[np.float64], forgetting: float = 1.0) -> "Scatter":
        """Return the statistics after one more vector, float64[n]; these stay as they are."""
        weight = forgetting * self.weight + 1.0
        deviation = vector - self.mean
        step = np.sqrt(1.0 - 1.0 / weight) * deviation  # one vector times itself: symmetric to the last bit
        matrix = np.outer(step, step)
        matrix += self.matrix if forgetting == 1.0 else forgetting * self.matrix
        return Scatter(weight, self.mean + deviation / weight, matrix)


class CorrectionModel:
    """Ridge regression of the residual on the standardised terms of a row, one row at a time.

    With z the terms standardised by the (weighted) mean and deviation of all rows so far, the correction
    of a row is w0 + w.z, and w minimises sum_i g^(n-i) (residual_i - w0 - w.z_i)^2 + ridge (w0^2 + |w|^2),
    g being the forgetting factor: the batch solution on the same rows, whatever their number. Standardising
    moves the penalty of every term with every row, which no rank-1 update of an inverse can follow; so an
    update is rank-1 in the centred scatter matrix, and the weights are solved for when they are next needed.

    A row is clipped to the range of the rows learned from before it is corrected: beyond it the correction
    stays what it is at the edge.
    """

    def __init__(self, n_columns: int, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.captures = 0
        self._basis = Basis(np.zeros(n_columns), self.settings.quadratic)
        self._low = np.full(n_columns, np.inf)
        self._high = np.full(n_columns, -np.inf)
        self._scatter = Scatter.empty(self._basis.n_terms + 1)
        self._solution: tuple[float, NDArray[np.float64]] | None = None

    def correction(self, row: NDArray[np.float64]) -> float:
        """Return what is to be added to the prediction, in score points; exactly 0.0 before any update.

        Raises:
            CorrectionError: the row, float64[n_columns], has another length or a value that is not finite or
                beyond `captures.LARGEST`.

        """
        self._check(row)
        if self.captures == 0:
            return 0.0
        constant, weights = self.solution()
        terms = self._basis.expand(np.minimum(np.maximum(row, self._low), self._high))
        return float(constant + weights @ (terms - self._scatter.mean[:-1]))

    def update(self, row: NDArray[np.float64], residual: float) -> None:
        """Learn one row, float64[n_columns], and its residual, observed - predicted.

        Raises:
            CorrectionError: a value that is not finite or beyond `captures.LARGEST`, or a row of another
                length; nothing is learned then.

        """
        self._check(row)
        number("the residual", residual)
        if self.captures == 0:
            self._basis = Basis(row.copy(), self.settings.quadratic)
        vector = np.append(self._basis.expand(row), residual)
        self._scatter = self._scatter.with_vector(vector, self.settings.forgetting)
        self._low, self._high = np.minimum(self._low, row), np.maximum(self._high, row)
        self._solution = None
        self.captures += 1

    def solution(self) -> tuple[float, NDArray[np.float64]]:
        """Return (w0, weights), float64[n_terms] in units of the terms: score points for one unit of a term."""
        if self._solution is None:
            self._solution = self._solve()
        return self._solution

    def fit(self) -> Fit:
        """Return what was learned, exact to the last bit."""
        scatter = self._scatter
        return Fit(
            captures=self.captures,
            weight=scatter.weight,
            origin=self._basis.origin.tolist(),
            low=self._low.tolist(),
            high=self._high.tolist(),
            mean=scatter.mean.tolist(),
            scatter=[row[: i + 1].tolist() for i, row in enumerate(scatter.matrix)],
        )

    @classmethod
    def from_fit(cls, fit: Fit, settings: Settings) -> "CorrectionModel":
        """Return a model that goes on from there.

        Raises:
            ValueError: the numbers are not what `fit` returns for these settings.

        """
        model = cls(len(fit.origin), settings)
        model._basis = Basis(_vector(fit.origin, len(fit.origin)), settings.quadratic)
        model._low, model._high = _vector(fit.low, len(fit.origin)), _vector(fit.high, len(fit.origin))
        n = model._basis.n_terms + 1
        model._scatter = Scatter(fit.weight, _vector(fit.mean, n), _symmetric(fit.scatter, n))
        if fit.captures < 1 or not 1.0 <= fit.weight <= fit.captures or (model._low > model._high).any():
            raise ValueError("counts or ranges that no captures lead to")
        model.captures = fit.captures
        return model

    def _solve(self) -> tuple[float, NDArray[np.float64]]:
        weight, scatter = self._scatter.weight, self._scatter.matrix
        variance = scatter.diagonal()[:-1] / weight
        # A column that never varied says nothing: its scatter is zero, and the penalty leaves its weight at zero.
        scale = np.sqrt(np.where(variance > _SMALLEST_VARIANCE, variance, 1.0))
        gram = scatter[:-1, :-1] / scale / scale[:, None]
        gram[np.diag_indices_from(gram)] += self.settings.ridge
        weights = np.linalg.solve(gram, scatter[:-1, -1] / scale) / scale
        mean_residual = float(self._scatter.mean[-1])
        return mean_residual * weight / (weight + self.settings.ridge), weights

    def _check(self, row: NDArray[np.float64]) -> None:
        if row.shape != self._low.shape:
            raise CorrectionError(f"a row of {len(self._low)} values is expected, got shape {row.shape}")
        usable = np.abs(row) <= LARGEST
        if not usable.all():
            first = int(np.argmin(usable))
            number(f"value {first} of the row", float(row[first]))


def _vector(values: list[float], length: int) -> NDArray[np.float64]:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise ValueError(f"{length} finite numbers are expected")
    return vector


def _symmetric(rows: list[list[float]], n: int) -> NDArray[np.float64]:
    if len(rows) != n:
        raise ValueError(f"a triangle of {n} rows is expected")
    lower = np.zeros((n, n))
    for i, row in enumerate(rows):
        lower[i, : i + 1] = _vector(row, i + 1)
    if (lower.diagonal() < 0.0).any():
        raise ValueError("a negative sum of squares")
    return np.asarray(lower + np.tril(lower, -1).T)
