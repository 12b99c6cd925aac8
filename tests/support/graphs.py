"""Small ONNX models of every kind that a base model may be, built node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Tensors = dict[str, npt.NDArray[np.generic]]
Value = tuple[str, Sequence[int | str]]


def tensor(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Return values of a standard normal distribution."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[NodeProto],
    tensors: Tensors,
    inputs: Sequence[Value] = (("features", ("batch", 6)),),
    outputs: Sequence[Value] = (("score", ("batch", 1)),),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> ModelProto:
    """Put nodes and initializers together."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", opset)], ir_version=8)


def layers(prefix: str = "") -> Tensors:
    """Return the weights of a 6-4-1 network as Gemm with transB=1 takes them."""
    shapes = {"w0": (4, 6), "b0": (4,), "w1": (1, 4), "b1": (1,)}
    return {prefix + name: tensor(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}


def gemm(name: str, *inputs: str, output: str | None = None, **attributes: Any) -> NodeProto:
    """Return a Gemm node."""
    return helper.make_node("Gemm", inputs, [output or name], name, **attributes)


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    """Return a node that is called like its output."""
    return helper.make_node(operator, inputs, [output], output, **attributes)


def perceptron(**changes: Any) -> ModelProto:
    """Return a 6-4-1 perceptron; `changes` go to `model`."""
    nodes = [
        gemm("hidden", "features", "w0", "b0", transB=1),
        node("Relu", ["hidden"], "active"),
        gemm("last", "active", "w1", "b1", output="score", transB=1),
    ]
    return model(nodes, layers(), **changes)


def elu() -> ModelProto:
    """Return a network that is no plain perceptron: its activation is Elu."""
    nodes = [
        gemm("hidden", "features", "w0", "b0", transB=1),
        node("Elu", ["hidden"], "active"),
        gemm("last", "active", "w1", "b1", output="score", transB=1),
    ]
    return model(nodes, layers())
