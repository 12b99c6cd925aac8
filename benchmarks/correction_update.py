"""How exact and how fast an online ridge update is, beside the usual alternatives on the same rows.

    python -m benchmarks.correction_update

Rows of 14 columns whose scales span 1e-2 to 1e5, as the raw signals of an encode do. Each method is compared with the
batch solution of its own problem: the largest difference of a correction, in score points, over 1,000 of the rows.
"""

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.correction import CorrectionModel, Settings

Array = NDArray[np.float64]

N_COLUMNS = 14
N_UPDATES = 100_000


class Method(Protocol):
    """An online ridge regression."""

    def update(self, row: Array, residual: float) -> None:
        """Learn one row."""

    def correction(self, row: Array) -> float:
        """Return the fitted residual of a row."""


class ShermanMorrison:
    """The textbook form: the inverse of X^T X + I of raw columns, updated in place."""

    def __init__(self) -> None:
        self._inverse = np.eye(N_COLUMNS + 1)
        self._weights = np.zeros(N_COLUMNS + 1)

    def update(self, row: Array, residual: float) -> None:
        """Learn one row."""
        x = np.append(1.0, row)
        gain = self._inverse @ x
        gain_normalised = gain / (1.0 + x @ gain)
        self._inverse -= np.outer(gain_normalised, gain)
        self._weights += gain_normalised * (residual - x @ self._weights)

    def correction(self, row: Array) -> float:
        """Return the fitted residual of a row."""
        return float(np.append(1.0, row) @ self._weights)


class QrUpdate:
    """The triangular factor of the raw rows above the penalty, factorised again with each row."""

    def __init__(self) -> None:
        self._factor = np.zeros((N_COLUMNS + 2, N_COLUMNS + 2))
        self._factor[:-1, :-1] = np.eye(N_COLUMNS + 1)

    def update(self, row: Array, residual: float) -> None:
        """Learn one row."""
        stacked = np.vstack([self._factor, np.concatenate(([1.0], row, [residual]))])
        self._factor = np.asarray(np.linalg.qr(stacked, mode="r"))

    def correction(self, row: Array) -> float:
        """Return the fitted residual of a row."""
        weights = np.linalg.solve(self._factor[:-1, :-1], self._factor[:-1, -1])
        return float(np.append(1.0, row) @ weights)


class CholeskyUpdate:
    """The Cholesky factor of X^T X + I of raw columns, rotated column by column with each row."""

    def __init__(self) -> None:
        self._factor = np.eye(N_COLUMNS + 1)
        self._moment = np.zeros(N_COLUMNS + 1)

    def update(self, row: Array, residual: float) -> None:
        """Learn one row."""
        x = np.append(1.0, row)
        self._moment += residual * x
        for k in range(len(x)):
            radius = np.hypot(self._factor[k, k], x[k])
            cosine, sine = radius / self._factor[k, k], x[k] / self._factor[k, k]
            self._factor[k, k] = radius
            self._factor[k + 1 :, k] = (self._factor[k + 1 :, k] + sine * x[k + 1 :]) / cosine
            x[k + 1 :] = cosine * x[k + 1 :] - sine * self._factor[k + 1 :, k]

    def correction(self, row: Array) -> float:
        """Return the fitted residual of a row."""
        weights = np.linalg.solve(self._factor.T, np.linalg.solve(self._factor, self._moment))
        return float(np.append(1.0, row) @ weights)


def raw_rows() -> tuple[Array, Array]:
    """Correlated columns of very different scales, and their residuals."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_UPDATES, N_COLUMNS)) + 0.9 * rng.normal(size=(N_UPDATES, 1))
    residuals = 5.0 + rows[:, 0] - rows[:, 1] + rng.normal(size=N_UPDATES)
    return (rows + rng.uniform(3, 30, N_COLUMNS)) * np.logspace(-2, 5, N_COLUMNS), residuals


def batch(design: Array, residuals: Array) -> Array:
    """Ridge regression with penalty 1 by least squares on the augmented matrix; returns the fitted residuals."""
    # Columns are scaled for the factorisation only, and the penalty with them: the problem stays the same.
    scale = np.linalg.norm(design, axis=0)
    matrix = np.vstack([design / scale, np.diag(1.0 / scale)])
    target = np.append(residuals, np.zeros(design.shape[1]))
    solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return np.asarray(design[:1000] @ (solution / scale))


def expected(rows: Array, residuals: Array, quadratic: bool | None) -> Array:
    """Batch solution on raw columns (None), or on standardised terms as the correction has them."""
    terms = rows
    if quadratic is not None:
        terms = rows - rows[0]
        if quadratic:
            first, second = np.triu_indices(N_COLUMNS)
            terms = np.column_stack([terms, terms[:, first] * terms[:, second]])
        terms = (terms - terms.mean(0)) / terms.std(0)
    return batch(np.column_stack([np.ones(len(rows)), terms]), residuals)


def measure(method: Method, rows: Array, residuals: Array, truth: Array) -> tuple[float, float]:
    """Return microseconds an update and the largest difference from the batch solution."""
    start = time.perf_counter()
    for row, residual in zip(rows, residuals, strict=True):
        method.update(row, residual)
    elapsed = time.perf_counter() - start
    corrections = np.array([method.correction(row) for row in rows[:1000]])
    return elapsed / len(rows) * 1e6, float(np.abs(corrections - truth).max())


def main() -> None:
    """Print the table."""
    rows, residuals = raw_rows()
    methods: dict[str, tuple[Callable[[], Method], bool | None]] = {
        "correction, linear": (lambda: CorrectionModel(N_COLUMNS, Settings(quadratic=False)), False),
        "correction, quadratic": (lambda: CorrectionModel(N_COLUMNS, Settings(quadratic=True)), True),
        "Sherman-Morrison, raw": (ShermanMorrison, None),
        "Cholesky update, raw": (CholeskyUpdate, None),
        "QR update, raw": (QrUpdate, None),
    }
    reference = None
    print(f"{'after ' + format(N_UPDATES, ',') + ' updates':<26}{'µs':>8}{'relative':>10}{'off by':>12}")
    for name, (make, quadratic) in methods.items():
        micros, off = measure(make(), rows, residuals, expected(rows, residuals, quadratic))
        reference = reference or micros
        print(f"{name:<26}{micros:>8.1f}{micros / reference:>9.1f}x{off:>12.1e}")


if __name__ == "__main__":
    main()
