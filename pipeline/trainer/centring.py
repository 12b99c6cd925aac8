"""Centred features for a model that has no standardisation of its own, and what that means for its first layer.

The model sees x - mean instead of x, with the bias b' = b + W · mean instead of b: the same score, but weights and bias
no longer do each other's work, and gradient descent gets on. On the way out the bias is turned back, so that what is
published takes x as it is. (The features' scales are taken care of by the coordinates.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.model.graph import BaseModel, Parameter

Doubles = NDArray[np.float64]


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
