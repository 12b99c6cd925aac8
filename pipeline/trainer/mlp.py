"""Plain multilayer perceptrons, evaluated and differentiated by hand in numpy.

Networks this small spend their time in calls, not in arithmetic; numpy needs several times fewer of them than a
framework with automatic differentiation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.trainer.activations import Activation

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dense:
    """One layer's place in the flat vector: weights (out, in) or, if `transposed`, (in, out); a bias (out,) if any."""

    weight: slice
    shape: tuple[int, int]
    transposed: bool = False
    bias: slice | None = None
    activation: Activation | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """Number of outputs and of inputs."""
        return (self.shape[1], self.shape[0]) if self.transposed else self.shape

    def views(self, vector: Array) -> tuple[Array, Array | None]:
        """Return the weights as (out, in) and the bias, both views of `vector`."""
        weight = vector[self.weight].reshape(self.shape)
        return weight.T if self.transposed else weight, None if self.bias is None else vector[self.bias]


@dataclass(frozen=True, slots=True)
class Mlp:
    """score = the dense layers of (x - shift) · gain; these float32[n_features], None where the graph has none."""

    shift: Array | None
    gain: Array | None
    layers: tuple[Dense, ...]
    n_parameters: int


class _Operands(NamedTuple):
    """A layer as products take it: weights (in, out), bias (out,); `back` is the weights as (out, in).

    For the last layer, which has one output, a vector (in,) and a number: half the time of matrices of width one.
    """

    weight: Array
    bias: Array | None
    back: Array


class BoundMlp:
    """An MLP on a vector of weights, which may change in place; `gradient` is where `backward` writes to."""

    def __init__(self, mlp: Mlp, vector: Array, gradient: Array | None = None) -> None:
        self._mlp = mlp
        self._operands = _operands(mlp, vector)
        self._activations = [layer.activation for layer in mlp.layers]
        self._gradients = [] if gradient is None else _operands(mlp, gradient)
        self._row_major = [weight.flags.c_contiguous for weight, _, _ in self._gradients]
        self._ones: Array = np.empty(0, np.float32)
        self._inputs: list[Array] = []
        self._sums: list[Array] = []

    def forward(self, features: Array) -> Array:
        """Return the scores float32[n] of features float32[n, n_features]."""
        x = features
        if self._mlp.shift is not None:
            x = x - self._mlp.shift
        if self._mlp.gain is not None:
            x = x * self._mlp.gain
        self._inputs, self._sums = [x], []
        for (weight, bias, _), activation in zip(self._operands, self._activations, strict=True):
            z = x.dot(weight)  # on small arrays twice as fast as the operator @
            if bias is not None:
                z += bias
            x = z if activation is None else activation.value(z)
            self._sums.append(z)
            self._inputs.append(x)
        return x

    def backward(self, slope: Array) -> None:
        """Write the gradient, for the derivatives `slope` float32[n] of the loss by the last scores."""
        if len(self._ones) != len(slope):
            self._ones = np.ones(len(slope), np.float32)
        for index, delta in self._deltas(slope):
            weight, bias, _ = self._gradients[index]
            inputs = self._inputs[index]
            if self._row_major[index]:
                inputs.T.dot(delta, out=weight)
            else:
                delta.T.dot(inputs, out=weight.T)
            if bias is not None:
                self._ones.dot(delta, out=bias)

    def squared_jacobian(self, features: Array) -> NDArray[np.float64]:
        """Return the sum over rows of the squared derivatives of the score, float64[n_parameters].

        A weight's derivative is a product of its input and what comes back to its output, so its square is one too.
        """
        total = np.zeros(self._mlp.n_parameters, np.float32)
        self.forward(features)
        operands = _operands(self._mlp, total)
        for index, delta in self._deltas(np.ones(len(features), np.float32)):
            weight, bias, _ = operands[index]
            weight[...] = np.square(self._inputs[index]).T @ np.square(delta)
            if bias is not None:
                bias[...] = np.square(delta).sum(axis=0)
        return total.astype(np.float64)

    def _deltas(self, slope: Array) -> Iterator[tuple[int, Array]]:
        """Yield, from the last layer to the first, its index and the derivatives by its sums, of their shape."""
        delta = slope
        for index in range(len(self._operands) - 1, -1, -1):
            activation = self._activations[index]
            if activation is not None:
                delta = delta * activation.slope(self._sums[index], self._inputs[index + 1])
            yield index, delta
            if index:
                delta = delta.reshape(len(delta), -1).dot(self._operands[index].back)


def _operands(mlp: Mlp, vector: Array) -> list[_Operands]:
    """Return the layers as views of `vector`."""
    layers = [layer.views(vector) for layer in mlp.layers]
    weight, bias = layers.pop()
    hidden = [_Operands(weight.T, bias, weight) for weight, bias in layers]
    return [*hidden, _Operands(weight[0], None if bias is None else bias[0, ...], weight)]
