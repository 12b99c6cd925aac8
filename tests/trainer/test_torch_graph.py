"""The torch interpreter against ONNX Runtime, operator by operator."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto

from pipeline.model.graph import BaseModel, UnusableModel
from pipeline.model.runtime import OnnxModel
from pipeline.trainer.torch_graph import TorchGraph
from pipeline.trainer.torch_learner import TorchLearner
from tests.support.graphs import Tensors, gemm, layers, model, node, tensor
from tests.trainer.looks import looks_of
from tests.trainer.test_learners import SGD


def ints(*values: int) -> Any:
    """Return an int64 tensor."""
    return np.array(values, np.int64)


def floats(*values: float) -> Any:
    """Return a float32 tensor."""
    return np.array(values, np.float32)


# Nodes between "hidden" (n, 4) and "active" (n, 4), and their constants.
Case = tuple[list[NodeProto], Tensors]
SCALAR = np.array(0.3, np.float32)


def unary(operator: str, **attributes: Any) -> Case:
    """Return a case of one operator on the hidden layer."""
    return [node(operator, ["hidden"], "active", **attributes)], {}


def positive(operator: str) -> Case:
    """Return a case of one operator on numbers above 0.3."""
    nodes = [
        node("Abs", ["hidden"], "abs"),
        node("Add", ["abs", "c"], "above"),
        node(operator, ["above"], "active"),
    ]
    return nodes, {"c": SCALAR}


def binary(operator: str, constant: Any = SCALAR, **attributes: Any) -> Case:
    """Return a case of one operator on the hidden layer and a constant."""
    return [node(operator, ["hidden", "c"], "active", **attributes)], {"c": constant}


def reduction(operator: str, **attributes: Any) -> Case:
    """Return a case that adds a reduction back to the hidden layer."""
    nodes = [
        node(operator, ["hidden"], "reduced", axes=[1], **attributes),
        node("Add", ["hidden", "reduced"], "active"),
    ]
    return nodes, {}


UNARY = (
    *("Elu", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Neg", "Relu", "Selu", "Sigmoid"),
    *("Softmax", "Softplus", "Softsign", "Tanh"),
)
CASES: dict[str, Case] = {
    **{name: unary(name) for name in UNARY},
    **{name: positive(name) for name in ("Sqrt", "Log", "Reciprocal")},
    **{name: binary(name) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "PRelu")},
    "Pow": binary("Pow", np.array(2, np.float32)),
    "Softmax axis 0": unary("Softmax", axis=0),
    "Elu alpha": unary("Elu", alpha=0.4),
    "Cast": unary("Cast", to=1),
    "Dropout": unary("Dropout"),
    "Transpose": (
        [node("Transpose", ["hidden"], "t", perm=[1, 0]), node("Transpose", ["t"], "active")],
        {},
    ),
    "Clip": ([node("Clip", ["hidden", "low", "high"], "active")], {"low": -SCALAR, "high": SCALAR}),
    "Clip above": ([node("Clip", ["hidden", "", "high"], "active")], {"high": SCALAR}),
    "Concat and Slice": (
        [
            node("Concat", ["hidden", "hidden"], "wide", axis=1),
            node("Slice", ["wide", "from", "to", "axes", "steps"], "active"),
        ],
        {"from": ints(7), "to": ints(-9), "axes": ints(1), "steps": ints(-2)},
    ),
    "Slice": (
        [
            node("Concat", ["hidden", "hidden"], "wide", axis=-1),
            node("Slice", ["wide", "from", "to", "axes"], "active"),
        ],
        {"from": ints(2), "to": ints(6), "axes": ints(1)},
    ),
    "Gather": binary("Gather", ints(3, 1, 0, -1), axis=1),
    "Reshape": (
        [node("Reshape", ["hidden", "there"], "r"), node("Reshape", ["r", "back"], "active")],
        {"there": ints(0, 2, -1), "back": ints(-1, 4)},
    ),
    "Flatten": (
        [node("Unsqueeze", ["hidden", "axes"], "u"), node("Flatten", ["u"], "active")],
        {"axes": ints(1)},
    ),
    "Unsqueeze and Squeeze": (
        [node("Unsqueeze", ["hidden", "axes"], "u"), node("Squeeze", ["u", "axes"], "active")],
        {"axes": ints(0, -1)},
    ),
    "Shape and Expand": (
        [node("Shape", ["hidden"], "s"), node("Expand", ["c", "s"], "e"), node("Mul", ["hidden", "e"], "active")],
        {"c": floats(1, 2, 3, 4)},
    ),
    "ConstantOfShape": (
        [node("ConstantOfShape", ["shape"], "ones"), node("Add", ["hidden", "ones"], "active")],
        {"shape": ints(4)},
    ),
    "LayerNormalization": (
        [node("LayerNormalization", ["hidden", "scale", "bias"], "active", epsilon=1e-3)],
        {"scale": floats(1, 2, 3, 4), "bias": floats(0, 1, 0, 1)},
    ),
    "BatchNormalization": (
        [node("BatchNormalization", ["hidden", "scale", "bias", "mean", "var"], "active")],
        {
            "scale": floats(1, 2, 3, 4),
            "bias": floats(0, 1, 0, 1),
            "mean": floats(1, 0, 1, 0),
            "var": floats(1, 2, 1, 2),
        },
    ),
    "ReduceMean": reduction("ReduceMean"),
    "ReduceMax": reduction("ReduceMax"),
    "ReduceMin": reduction("ReduceMin"),
    "ReduceProd": reduction("ReduceProd"),
    "ReduceSum": (
        [node("ReduceSum", ["hidden", "axes"], "reduced"), node("Add", ["hidden", "reduced"], "active")],
        {"axes": ints(1)},
    ),
    "Conv": (
        [
            node("Unsqueeze", ["hidden", "axes"], "u"),
            node("Conv", ["u", "kernel", "kernel_bias"], "k", pads=[1, 1]),
            node("GlobalAveragePool", ["k"], "pool"),
            node("Squeeze", ["pool", "last"], "p"),
            node("Concat", ["p", "p"], "active", axis=1),
        ],
        {"axes": ints(1), "kernel": tensor(2, 1, 3), "kernel_bias": tensor(2), "last": ints(2)},
    ),
    "GlobalMaxPool": (
        [
            node("Unsqueeze", ["hidden", "axes"], "u"),
            node("GlobalMaxPool", ["u"], "pool"),
            node("Squeeze", ["pool", "axes"], "p"),
            node("Add", ["hidden", "p"], "active"),
        ],
        {"axes": ints(2)},
    ),
    "Gemm with factors": (
        [gemm("active", "hidden", "square", "row", alpha=0.5, beta=2.0)],
        {"square": tensor(4, 4), "row": tensor(4)},
    ),
}


def built(case: Case) -> BaseModel:
    """Return a network with the case between its two layers."""
    nodes, constants = case
    first = gemm("hidden", "features", "w0", "b0", transB=1)
    last = gemm("last", "active", "w1", "b1", output="score", transB=1)
    return BaseModel(model([first, *nodes, last], {**layers(), **constants}), "case")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_equals_onnx_runtime_and_trains(case: Case) -> None:
    """Each operator gives what ONNX Runtime gives, and lets a gradient through to the first layer."""
    base = built(case)
    features = tensor(5, 6, seed=4)
    graph = TorchGraph(base, torch.device("cpu"))
    ours = graph(torch.from_numpy(features), graph.tensors(torch.from_numpy(base.vector())))
    assert np.allclose(ours.numpy(), OnnxModel(base.serialized).predict(features), rtol=1e-4, atol=1e-5)
    assert TorchLearner(base, SGD).squared_jacobian(features, base.vector())[base.parameters[0].offset :].any()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_operator_waits_for_the_device(case: Case) -> None:
    """On a device without numbers each operator runs: what says a shape is read on the processor."""
    base = built(case)
    graph = TorchGraph(base, torch.device("meta"))
    features, vector = torch.zeros(5, 6, device="meta"), torch.zeros(base.n_parameters, device="meta")
    scores: list[torch.Tensor] = []
    looks = looks_of(lambda: scores.append(graph(features, graph.tensors(vector))))
    assert scores[0].shape == (5,)
    assert looks.uploads == []


def test_a_shape_that_is_computed_with_goes_to_the_device() -> None:
    """The number of columns as a factor, and as a shape: once on either side, with ONNX Runtime's result."""
    nodes = [
        node("Shape", ["hidden"], "s"),
        node("Cast", ["s"], "f", to=1),
        node("ReduceSum", ["f", "axes"], "sum", keepdims=0),
        node("Mul", ["hidden", "sum"], "m"),
        node("Gather", ["s", "order"], "same", axis=0),
        node("Reshape", ["m", "same"], "r"),
        node("Add", ["r", "f4"], "active"),
    ]
    case = nodes, {"axes": ints(0), "order": ints(0, 1), "f4": floats(1, 2, 3, 4)}
    base, features = built(case), tensor(5, 6, seed=4)
    ours = TorchGraph(base, torch.device("cpu"))
    scores = ours(torch.from_numpy(features), ours.tensors(torch.from_numpy(base.vector())))
    assert np.allclose(scores.numpy(), OnnxModel(base.serialized).predict(features), rtol=1e-4, atol=1e-5)
    there = TorchGraph(base, torch.device("meta"))
    vector = torch.zeros(base.n_parameters, device="meta")
    looks = looks_of(lambda: there(torch.zeros(5, 6, device="meta"), there.tensors(vector)))
    assert looks.uploads == [16]


def test_names_an_operator_it_lacks() -> None:
    """A graph that cannot be differentiated is refused with model, node and operator."""
    pool = [
        node("Unsqueeze", ["hidden", "axes"], "u"),
        node("MaxPool", ["u"], "m", kernel_shape=[1]),
        node("Squeeze", ["m", "axes"], "active"),
    ]
    with pytest.raises(UnusableModel, match=r"case: node 'm' \(MaxPool\)"):
        TorchLearner(built((pool, {"axes": ints(1)})), SGD)


def test_names_a_form_it_lacks() -> None:
    """So is an operator that is known, in a form that is not."""
    conv = [
        node("Unsqueeze", ["hidden", "axes"], "u"),
        node("Conv", ["u", "kernel"], "k", auto_pad="SAME_UPPER"),
        node("Squeeze", ["k", "axes"], "active"),
    ]
    with pytest.raises(UnusableModel, match=r"node 'k' \(Conv\).*SAME_UPPER"):
        TorchLearner(built((conv, {"axes": ints(1), "kernel": tensor(1, 1, 3)})), SGD)
