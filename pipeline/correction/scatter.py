"""Running mean and scatter of vectors that are seen one at a time and not kept."""

import numpy as np
from numpy.typing import NDArray


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
