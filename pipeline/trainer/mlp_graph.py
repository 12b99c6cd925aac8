"""Recognises a plain multilayer perceptron in an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from pipeline.model.graph import BaseModel, Parameter
from pipeline.trainer.mlp import GELU, RELU, SIGMOID, TANH, Activation, Dense, Mlp, leaky_relu

_SHAPING = frozenset({"Squeeze", "Reshape", "Flatten", "Identity", "Dropout"})


def plain_mlp(base: BaseModel) -> Mlp | None:
    """Return the perceptron that `base` is, or None where it is anything else.

    One is: inputs side by side; optionally a constant shift and gain of the features; Gemm, or MatMul and Add, with
    Relu, LeakyRelu, Tanh, Sigmoid or a GELU spelled with Erf between them; a score of width one.
    """
    try:
        return _Walk(base).mlp()
    except _NotPlainError:
        return None


class _NotPlainError(Exception):
    """The graph has something that a plain perceptron has not."""


class _Walk:
    """Follows the one path from the features to the score, node by node."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._parameters = {parameter.name: parameter for parameter in base.parameters}
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in base.proto.graph.initializer}
        self._nodes: list[NodeProto] = []
        for node in base.proto.graph.node:
            if node.op_type == "Constant":
                self._constants[node.output[0]] = _constant(node)
            else:
                self._nodes.append(node)
        self._at = 0
        self._shift: NDArray[np.float64] = np.zeros(base.n_features)
        self._gain: NDArray[np.float64] = np.ones(base.n_features)

    def mlp(self) -> Mlp:
        value = self._features()
        value = self._standardised(value)
        layers: list[Dense] = []
        while self._at < len(self._nodes) and self._nodes[self._at].op_type in {"Gemm", "MatMul"}:
            layer, value = self._layer(value)
            layers.append(layer)
        while self._at < len(self._nodes):
            node = self._take(value)
            _require(node.op_type in _SHAPING)
            value = node.output[0]
        _require(value == self._base.output and bool(layers) and layers[-1].widths[0] == 1)
        _require(not self._parameters)
        return Mlp(
            self._shift.astype(np.float32) if self._shift.any() else None,
            self._gain.astype(np.float32) if (self._gain != 1).any() else None,
            tuple(layers),
            self._base.n_parameters,
        )

    def _take(self, value: str) -> NodeProto:
        """Return the next node, which has to go on from `value`."""
        _require(self._at < len(self._nodes))
        node = self._nodes[self._at]
        _require(value in node.input)
        self._at += 1
        return node

    def _next_is(self, *operators: str) -> bool:
        return self._at < len(self._nodes) and self._nodes[self._at].op_type in operators

    def _features(self) -> str:
        names = [name for name, _ in self._base.inputs]
        if len(names) == 1:
            return names[0]
        node = self._take(names[0])
        _require(node.op_type == "Concat" and list(node.input) == names and _attribute(node, "axis") in (1, -1))
        return str(node.output[0])

    def _standardised(self, value: str) -> str:
        while self._next_is("Sub", "Add", "Div", "Mul"):
            node = self._take(value)
            constant = self._frozen(node, value)
            if node.op_type == "Sub":
                self._shift += constant / self._gain
            elif node.op_type == "Add":
                self._shift -= constant / self._gain
            elif node.op_type == "Div":
                self._gain /= constant
            else:
                self._gain *= constant
            value = node.output[0]
        return value

    def _frozen(self, node: NodeProto, value: str) -> NDArray[np.float64]:
        """Return the constant that `node` combines `value` with, of the shape of a feature vector."""
        first, second = node.input
        name = second if first == value else first
        _require(name in self._constants and name not in self._parameters)
        _require(first == value or node.op_type in {"Add", "Mul"})
        constant = self._constants[name].astype(np.float64).ravel()
        _require(len(constant) in (1, self._base.n_features))
        return np.broadcast_to(constant, self._base.n_features)

    def _layer(self, value: str) -> tuple[Dense, str]:
        node = self._take(value)
        transposed = True
        bias: str | None = None
        if node.op_type == "Gemm":
            _require(_attribute(node, "alpha", 1.0) == 1 and _attribute(node, "beta", 1.0) == 1)
            _require(not _attribute(node, "transA", 0))
            transposed = not _attribute(node, "transB", 0)
            bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        _require(node.input[0] == value)
        weight, value = self._parameter(node.input[1], 2), node.output[0]
        if node.op_type == "MatMul" and self._next_is("Add"):
            node = self._take(value)
            bias = node.input[1] if node.input[0] == value else node.input[0]
            value = node.output[0]
        bias_parameter = None if bias is None else self._parameter(bias, 1)
        activation, value = self._activation(value)
        shape = (weight.shape[0], weight.shape[1])
        layer = Dense(
            _slice(weight), shape, transposed, None if bias_parameter is None else _slice(bias_parameter), activation
        )
        _require(bias_parameter is None or bias_parameter.size == layer.widths[0])
        return layer, value

    def _parameter(self, name: str, n_dims: int) -> Parameter:
        """Return a weight that no layer has used yet."""
        _require(name in self._parameters)
        parameter = self._parameters.pop(name)
        _require(len(parameter.shape) == n_dims)
        return parameter

    def _activation(self, value: str) -> tuple[Activation | None, str]:
        if self._next_is("Relu", "Tanh", "Sigmoid"):
            node = self._take(value)
            return {"Relu": RELU, "Tanh": TANH, "Sigmoid": SIGMOID}[node.op_type], node.output[0]
        if self._next_is("LeakyRelu"):
            node = self._take(value)
            alpha = float(_attribute(node, "alpha", 0.01))
            _require(0 <= alpha <= 1)
            return leaky_relu(alpha), node.output[0]
        if self._next_is("Div"):
            return GELU, self._gelu(value)
        return None, value

    def _gelu(self, z: str) -> str:
        """Follow z · ½(1 + erf(z / sqrt 2)) in either order of its two products."""
        scaled = self._combine("Div", z, np.sqrt(2))
        node = self._take(scaled)
        _require(node.op_type == "Erf")
        value = self._combine("Add", node.output[0], 1)
        if self._next_is("Mul") and z in self._nodes[self._at].input:
            node = self._take(value)
            return self._combine("Mul", node.output[0], 0.5)
        value = self._combine("Mul", value, 0.5)
        node = self._take(value)
        _require(node.op_type == "Mul" and z in node.input)
        return str(node.output[0])

    def _combine(self, operator: str, value: str, constant: float) -> str:
        node = self._take(value)
        _require(node.op_type == operator)
        others = [name for name in node.input if name != value]
        _require(len(others) == 1 and others[0] in self._constants)
        _require(bool(np.allclose(self._constants[others[0]], constant, rtol=1e-6)))
        return str(node.output[0])


def _require(condition: bool) -> None:
    if not condition:
        raise _NotPlainError


def _slice(parameter: Parameter) -> slice:
    return slice(parameter.offset, parameter.offset + parameter.size)


def _attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    found = [attribute for attribute in node.attribute if attribute.name == name]
    return helper.get_attribute_value(found[0]) if found else default


def _constant(node: NodeProto) -> NDArray[Any]:
    value = helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if node.attribute[0].name == "value" else np.asarray(value)
