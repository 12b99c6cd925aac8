"""The terms that the correction is linear in."""

import numpy as np
from numpy.typing import NDArray

WIDEST_QUADRATIC = 16
"""Columns up to which quadratic terms are formed: 16 columns are 152 terms, 80 would be 3320."""


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
