"""Preconditioning: the coordinates in which gradient descent works, θ = origin + scale · w, elementwise.

In the weights' own units no step size suits every layer of a given model: a change of the first layer may move the
score a hundred times further than the same change of the last. So each weight is scaled so that all move the score
alike: scale ∝ 1 / sqrt(E[(∂score/∂θ)²]), the inverse root of the Gauss-Newton diagonal at the base model, estimated
from the first rows without their scores. The common factor makes E|∂score/∂w|² = sensitivity², after which the
same step size fits any model, whatever the number of its weights and the scale of features and score. Weight decay on w
pulls towards the origin, the base model.

A model without standardisation of its own also has its features centred: it sees x - mean instead of x, with the bias
b' = b + W · mean of its first layer instead of b. That is the same score, but weights and bias are no longer
correlated, and gradient descent converges faster. When weights are exported, the bias is changed back, so that a
published model takes x as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.model.graph import BaseModel, Parameter

if TYPE_CHECKING:
    from pipeline.trainer.learner import LearnerState

Doubles = NDArray[np.float64]

_FLOOR_OF_TENSOR = 0.1
_FLOOR_OF_MODEL = 1e-12


def scale_from(squared_jacobian: Doubles, parameters: tuple[Parameter, ...], sensitivity: float) -> Doubles:
    """Return the scale float64[n_parameters] for a mean squared Jacobian float64[n_parameters].

    Weights that hardly matter (a unit that the rows did not reach) get a share of their tensor's mean, so that their
    steps stay small. All ones where no weight matters.
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


@dataclass(frozen=True, slots=True)
class FirstLayer:
    """The one layer that takes the features as they come: weights (out, in) or, if `transposed`, (in, out)."""

    weight: Parameter
    bias: Parameter
    transposed: bool

    def centred(self, vector: Doubles, mean: Doubles) -> Doubles:
        """Return the weights float64[n_parameters] that do for x - mean what `vector` does for x."""
        weight = vector[self.weight.offset : self.weight.offset + self.weight.size].reshape(self.weight.shape)
        moved = vector.copy()
        bias = moved[self.bias.offset : self.bias.offset + self.bias.size]
        bias += (weight.T if self.transposed else weight) @ mean
        return moved


def raw_first_layer(base: BaseModel) -> FirstLayer | None:
    """Return the Gemm with a bias that alone takes the features, all of them, as they come; None if there is none."""
    value, others = _features(base)
    consumers = [node for node in base.proto.graph.node if value in node.input]
    if others or len(consumers) != 1 or consumers[0].op_type != "Gemm" or len(consumers[0].input) != 3:
        return None
    parameters = {parameter.name: parameter for parameter in base.parameters}
    weight, bias = (parameters.get(name) for name in consumers[0].input[1:])
    attributes = {attribute.name: attribute for attribute in consumers[0].attribute}
    plain = all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
    turned = "transA" in attributes and attributes["transA"].i
    if weight is None or bias is None or not plain or turned or consumers[0].input[0] != value:
        return None
    transposed = not ("transB" in attributes and attributes["transB"].i)
    return FirstLayer(weight, bias, transposed) if bias.size == weight.shape[int(transposed)] else None


def _features(base: BaseModel) -> tuple[str, bool]:
    """Return the name of all features side by side, and whether an input also goes anywhere else."""
    names = [name for name, _ in base.inputs]
    users = [node for node in base.proto.graph.node if set(names) & set(node.input)]
    if len(names) == 1:
        return names[0], False
    joined = len(users) == 1 and users[0].op_type == "Concat" and list(users[0].input) == names
    return (users[0].output[0], False) if joined else ("", True)
