"""The coordinates in which gradient descent works: θ = origin + scale · w, elementwise.

In the weights' own units one step size cannot suit every layer of a model that somebody else trained: a change of the
first layer moves the score a hundred times further than the same change of the last. So each weight is measured in the
unit in which it moves the score alike: scale ∝ 1 / sqrt(E[(∂score/∂θ)²]), the inverse root of the Gauss-Newton
diagonal at the base model, estimated from the first rows without looking at their scores. The common factor makes
E|∂score/∂w|² = unit², after which the same step size fits any model, any number of weights and any scale of features
or score. Weight decay on w pulls towards the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pipeline.model.graph import Parameter

_FLOOR_OF_TENSOR = 1e-2
_FLOOR_OF_MODEL = 1e-6


def scale_from(
    squared_jacobian: NDArray[np.float64], parameters: tuple[Parameter, ...], unit: float
) -> NDArray[np.float32]:
    """Return the scale float32[n_parameters] for a mean squared Jacobian float64[n_parameters].

    Weights that hardly matter (a unit that the rows did not reach) are held to a share of their tensor's mean, so that
    they are not moved wildly. All ones where no weight matters.
    """
    floor = np.full_like(squared_jacobian, _FLOOR_OF_MODEL * squared_jacobian.mean())
    for parameter in parameters:
        tensor = slice(parameter.offset, parameter.offset + parameter.size)
        floor[tensor] += _FLOOR_OF_TENSOR * squared_jacobian[tensor].mean()
    curvature = squared_jacobian + floor
    if not (np.isfinite(curvature).all() and curvature.min() > 0):
        return np.ones(len(squared_jacobian), np.float32)
    trace = float((squared_jacobian / curvature).sum())
    return (unit / np.sqrt(curvature * trace)).astype(np.float32)


class Calibration:
    """The running mean of the squared Jacobian over the first rows; says when the scale has to follow it."""

    def __init__(self, n_parameters: int, rows_wanted: int) -> None:
        self.total: NDArray[np.float64] = np.zeros(n_parameters)
        self.rows = 0
        self._rows_wanted = rows_wanted
        self._used = 0

    @property
    def complete(self) -> bool:
        """Whether enough rows were seen."""
        return self.rows >= self._rows_wanted

    def add(self, squared_jacobian: NDArray[np.float64], rows: int) -> bool:
        """Add the sum over `rows` rows; return whether the rows have doubled since the scale was last set."""
        if not np.isfinite(squared_jacobian).all():
            return False
        self.total += squared_jacobian
        self.rows += rows
        if self.rows < 2 * self._used and not self.complete:
            return False
        self._used = self.rows
        return True

    def mean(self) -> NDArray[np.float64]:
        """Return the mean squared Jacobian."""
        return self.total / self.rows

    def restore(self, total: NDArray[np.float64], rows: int) -> None:
        """Continue from saved sums."""
        self.total, self.rows, self._used = total.copy(), rows, rows
