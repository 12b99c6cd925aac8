"""The batch ridge solution, computed from all rows at once and by another road than the code under test."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def expand(rows: Array, quadratic: bool) -> Array:
    """Deviations from the first row, and their squares and products: float64[n, n_terms]."""
    shifted: Array = rows - rows[0]
    if not quadratic:
        return shifted
    n_columns = rows.shape[1]
    products = [shifted[:, i] * shifted[:, j] for i in range(n_columns) for j in range(i, n_columns)]
    return np.column_stack([shifted, *products])


def batch_ridge(
    rows: Array, residuals: Array, *, quadratic: bool, ridge: float = 1.0, forgetting: float = 1.0
) -> tuple[float, Array]:
    """Weighted ridge regression on standardised terms, by least squares on the augmented matrix.

    Returns w0 and the weights in units of the terms.
    """
    terms = expand(rows, quadratic)
    weights = forgetting ** np.arange(len(rows) - 1, -1, -1.0)
    mean = np.average(terms, axis=0, weights=weights)
    deviation = np.sqrt(np.average((terms - mean) ** 2, axis=0, weights=weights))
    standardised = np.column_stack([np.ones(len(rows)), (terms - mean) / np.where(deviation > 0, deviation, 1)])
    root = np.sqrt(weights)
    penalty = np.sqrt(ridge) * np.eye(standardised.shape[1])
    matrix = np.vstack([standardised * root[:, None], penalty])
    target = np.concatenate([residuals * root, np.zeros(len(penalty))])
    solution = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return float(solution[0]), solution[1:] / np.where(deviation > 0, deviation, 1)
