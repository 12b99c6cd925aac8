"""The coordinates in which gradient descent works: θ = origin + scale · w, elementwise.

In the weights' own units one step size cannot suit every layer of a model that somebody else trained: a change of the
first layer moves the score a hundred times further than the same change of the last. So each weight is measured in the
unit in which it moves the score alike: scale ∝ 1 / sqrt(E[(∂score/∂θ)²]), the inverse root of the Gauss-Newton
diagonal at the base model, estimated from the first rows without looking at their scores. The common factor makes
E|∂score/∂w|² = sensitivity², after which the same step size fits any model, whatever the number of its weights and the
scale of features and score. Weight decay on w pulls towards the origin, the base model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model.graph import Parameter
    from pipeline.trainer.learner import LearnerState

Doubles = NDArray[np.float64]

_FLOOR_OF_TENSOR = 0.1
_FLOOR_OF_MODEL = 1e-12


def scale_from(squared_jacobian: Doubles, parameters: tuple[Parameter, ...], sensitivity: float) -> Doubles:
    """Return the scale float64[n_parameters] for a mean squared Jacobian float64[n_parameters].

    Weights that hardly matter (a unit that the rows did not reach) are held to a share of their tensor's mean, so that
    they are not moved wildly. All ones where no weight matters.
    """
    floor = np.full_like(squared_jacobian, _FLOOR_OF_MODEL * squared_jacobian.mean())
    for parameter in parameters:
        tensor = slice(parameter.offset, parameter.offset + parameter.size)
        floor[tensor] += _FLOOR_OF_TENSOR * squared_jacobian[tensor].mean()
    curvature = squared_jacobian + floor
    if not (np.isfinite(curvature).all() and curvature.min() > 0):
        return np.ones_like(squared_jacobian)
    trace = float((squared_jacobian / curvature).sum())
    return sensitivity / np.sqrt(curvature * trace)


def moved(state: LearnerState, origin: Doubles, scale: Doubles, weights: Callable[[Doubles], Doubles]) -> LearnerState:
    """Return a learner's `state` in other coordinates; `weights` maps live and averaged weights from old to new.

    A gradient by w is scale times one by θ, so the moments of the optimizer, which are sums of these, scale likewise.
    """

    def position(name: str) -> Doubles:
        return (weights(state["origin"] + state["scale"] * state[name]) - origin) / scale

    ratio = scale / state["scale"]
    return {
        **state,
        "origin": origin,
        "scale": scale,
        "position": position("position"),
        "ema": position("ema"),
        "first": state["first"] * ratio,
        "second": state["second"] * ratio**2,
    }
