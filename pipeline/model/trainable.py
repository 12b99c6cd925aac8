"""Which constants of a graph are weights, and which belong to its definition.

Weights are what a dense or convolutional layer multiplies with and adds: the operands and biases of Gemm and Conv, the
operand of MatMul, and the Add directly after a layer that has no bias of its own. Everything else stays as it is:
standardisation, scale and bias of normalisation layers, the constants of a spelled-out GELU. A constant that serves
both ways stays as it is too.
"""

import math
from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from pipeline.model.errors import UnusableModel
from pipeline.model.operators import node_name

_LAYERS = frozenset({"Gemm", "Conv", "MatMul"})
_VIEWS = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})


def trained_tensors(proto: ModelProto, name: str) -> dict[str, TensorProto]:
    """Return the trained tensors by name in the order in which nodes first use them; raises UnusableModel.

    They are the model's own, so writing to them changes it. Their values are in `raw_data`, whatever field the file
    had them in.
    """
    constants = _constants(proto.graph)
    names = list(_trained_names(proto.graph, constants))
    if not names:
        raise UnusableModel(name, "no weights to train: no Gemm, Conv or MatMul with constant operands")
    for key in names:
        _as_raw_float32(constants[key], key, proto.graph, name)
    return {key: constants[key] for key in names}


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            (attribute,) = node.attribute
            if attribute.name in {"value_float", "value_floats"}:
                values = np.array(helper.get_attribute_value(attribute), np.float32)
                attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))
            if attribute.name == "value":
                constants[node.output[0]] = attribute.t
    return constants


def _trained_names(graph: GraphProto, constants: dict[str, TensorProto]) -> Iterator[str]:
    """Yield the constants whose every use, directly or through a view, is that of a weight."""
    is_weight: dict[str, bool] = {}
    for constant, use in _uses(graph, constants):
        is_weight[constant] = is_weight.get(constant, True) and use
    return (constant for constant, all_uses in is_weight.items() if all_uses)


def _uses(graph: GraphProto, constants: dict[str, TensorProto]) -> Iterator[tuple[str, bool]]:
    """Yield each use of a constant in node order: its name, and whether it is used as a weight."""
    source = {name: name for name in constants}
    unbiased: set[str] = set()
    for node in graph.node:
        if node.op_type in _VIEWS and node.input[0] in source:
            source[node.output[0]] = source[node.input[0]]
            continue
        weights: set[str] = set()
        if node.op_type in _LAYERS:
            weights.update(node.input if node.op_type == "MatMul" else node.input[1:3])
            if sum(map(bool, node.input)) < 3:
                unbiased.add(node.output[0])
        elif node.op_type == "Add" and not unbiased.isdisjoint(node.input):
            # A scalar is no bias: the 3 of a spelled-out hard swish, for one.
            weights.update(name for name in node.input if name in source and constants[source[name]].dims)
        yield from ((source[name], name in weights) for name in node.input if name in source)


def _as_raw_float32(tensor: TensorProto, key: str, graph: GraphProto, name: str) -> None:
    node = next((node for node in graph.node if key in node.input), graph.node[0])
    if tensor.data_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.data_type).lower()
        reason = f"weights {key!r} are {kind}; expected float32"
        raise UnusableModel(name, reason, node=node_name(node), operator=node.op_type)
    if not tensor.HasField("raw_data"):
        tensor.raw_data = np.array(tensor.float_data, dtype="<f4").tobytes()
        tensor.ClearField("float_data")
    expected = 4 * math.prod(tensor.dims)
    if len(tensor.raw_data) != expected:
        reason = f"weights {key!r} hold {len(tensor.raw_data)} bytes; expected {expected} for {list(tensor.dims)}"
        raise UnusableModel(name, reason, node=node_name(node), operator=node.op_type)
