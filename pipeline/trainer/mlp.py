"""Plain multilayer perceptrons, evaluated and differentiated by hand in numpy.

Networks this small spend their time in calls, not in arithmetic; numpy needs several times fewer of them than a
framework with automatic differentiation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Activation(NamedTuple):
    """`value(z)` is the activation of z; `slope(z, value)` its derivative, which may use both."""

    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], NDArray[Any]]


def leaky_relu(alpha: float) -> Activation:
    """Return max(z, alpha · z), for alpha in 0..1."""
    low, high = np.float32(alpha), np.float32(1)
    return Activation(lambda z: np.maximum(z, low * z), lambda z, _: np.where(z > 0, high, low))


# numpy makes an array of a number at each call; this is one already.
_ZERO = np.zeros((), np.float32)
# The sign of a value that is not negative is its slope, as a float: twice as fast as a comparison.
RELU = Activation(lambda z: np.maximum(z, _ZERO), lambda _, value: np.sign(value))
TANH = Activation(np.tanh, lambda _, value: 1 - value * value)
SIGMOID = Activation(
    lambda z: np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * z),
    lambda _, value: value * (1 - value),
)

# erf to 1.5e-7, the resolution of float32: Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26.
_P = 0.3275911
_A = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


def _normal(z: Array) -> tuple[Array, Array]:
    """Return the standard normal distribution function of z, and its density times sqrt(2π)."""
    bell = np.exp(np.float32(-0.5) * z * z)
    t = 1 / (1 + np.float32(_P / math.sqrt(2)) * np.abs(z))
    tail = t * (_A[4] + t * (_A[3] + t * (_A[2] + t * (_A[1] + t * _A[0])))) * bell * 0.5
    return np.where(z > 0, 1 - tail, tail), bell


def _gelu_slope(z: Array, _: Array) -> Array:
    cumulative, bell = _normal(z)
    return cumulative + z * bell * np.float32(1 / math.sqrt(2 * math.pi))


GELU = Activation(lambda z: z * _normal(z)[0], _gelu_slope)


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
