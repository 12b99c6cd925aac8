"""Which graphs are plain perceptrons."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from pipeline.model.graph import BaseModel, load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.trainer.mlp import BoundMlp
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.recipe import Recipe
from tests.support.graphs import gemm, layers, model, node, perceptron, tensor
from tests.trainer.test_learners import equal_step_by_step

NAMES = ["fr_regressor_v1", "fr_regressor_v2", "vmaf_tiny_v1", "vmaf_tiny_v2", "vmaf_tiny_v4"]


def activated(*nodes: Any, **constants: float) -> ModelProto:
    """Return a perceptron with other nodes between "hidden" and "active"."""
    scalars = {name: np.array(value, np.float32) for name, value in constants.items()}
    first = gemm("hidden", "features", "w0", "b0", transB=1)
    last = gemm("last", "active", "w1", "b1", output="score", transB=1)
    return model([first, *nodes, last], {**layers(), **scalars})


def gelu(half_first: bool) -> ModelProto:
    """Return a perceptron with a GELU spelled with Erf, its two products in one order or the other."""
    start = [
        node("Div", ["hidden", "root"], "scaled"),
        node("Erf", ["scaled"], "erf"),
        node("Add", ["erf", "one"], "sum"),
    ]
    if half_first:
        end = [node("Mul", ["half", "sum"], "halved"), node("Mul", ["hidden", "halved"], "active")]
    else:
        end = [node("Mul", ["hidden", "sum"], "double"), node("Mul", ["double", "half"], "active")]
    return activated(*start, *end, root=np.sqrt(2), one=1, half=0.5)


def standardised() -> ModelProto:
    """Return MatMul and Add with weights (in, out), behind every operator that may standardise."""
    nodes = [
        node("Sub", ["features", "mean"], "a"),
        node("Div", ["a", "std"], "b"),
        node("Mul", ["b", "two"], "c"),
        node("Add", ["c", "two"], "d"),
        node("MatMul", ["d", "w"], "e"),
        node("Add", ["e", "b0"], "f"),
        node("Tanh", ["f"], "g"),
        gemm("last", "g", "w1", "b1"),
        node("Squeeze", ["last", "axis"], "score"),
    ]
    constants = {
        "mean": tensor(6, seed=5),
        "std": np.abs(tensor(6, seed=6)) + 1,
        "two": np.array(2, np.float32),
        "w": tensor(6, 4),
        "b0": tensor(4),
        "w1": tensor(4, 1),
        "b1": tensor(1),
        "axis": np.array([1]),
    }
    return model(nodes, constants, outputs=[("score", ("batch",))])


PLAIN = {
    "relu": perceptron(),
    "leaky relu": activated(node("LeakyRelu", ["hidden"], "active", alpha=0.2)),
    "tanh": activated(node("Tanh", ["hidden"], "active")),
    "sigmoid": activated(node("Sigmoid", ["hidden"], "active")),
    "gelu, half first": gelu(half_first=True),
    "gelu, half last": gelu(half_first=False),
    "standardised": standardised(),
}
OTHER = {
    "another activation": activated(node("Elu", ["hidden"], "active")),
    "not quite a gelu": activated(
        node("Div", ["hidden", "root"], "scaled"),
        node("Erf", ["scaled"], "erf"),
        node("Add", ["erf", "one"], "sum"),
        node("Mul", ["half", "sum"], "halved"),
        node("Mul", ["hidden", "halved"], "active"),
        root=1.5,
        one=1,
        half=0.5,
    ),
    "residual": activated(node("Relu", ["hidden"], "relu"), node("Add", ["hidden", "relu"], "active")),
    "scaled product": model(
        [gemm("hidden", "features", "w0", "b0", transB=1, alpha=2.0), gemm("score", "hidden", "w1", "b1", transB=1)],
        layers(),
    ),
    "scaled score": model(
        [
            gemm("hidden", "features", "w0", "b0", transB=1),
            gemm("raw", "hidden", "w1", "b1", transB=1),
            node("Mul", ["raw", "hundred"], "score"),
        ],
        {**layers(), "hundred": np.array(100, np.float32)},
    ),
}


@pytest.mark.parametrize("proto", PLAIN.values(), ids=PLAIN)
def test_recognises_and_equals(proto: ModelProto) -> None:
    """A plain perceptron is recognised, predicts like ONNX Runtime, and trains like torch."""
    base = BaseModel(proto, "plain")
    predicts_like_onnx_runtime(base)
    equal_step_by_step(base, Recipe(step_size=1e-3))


@pytest.mark.parametrize("proto", OTHER.values(), ids=OTHER)
def test_leaves_everything_else_to_torch(proto: ModelProto) -> None:
    """A graph that differs in anything is not taken for a plain perceptron."""
    assert plain_mlp(BaseModel(proto, "other")) is None


@pytest.mark.parametrize("name", NAMES)
def test_real_models_are_plain(shared_models: Path, name: str) -> None:
    """The models of the platform take the fast path, and it predicts like ONNX Runtime and trains like torch."""
    base = load_base_model(shared_models / f"{name}.onnx")
    predicts_like_onnx_runtime(base)
    equal_step_by_step(base, Recipe(step_size=1e-3))


def predicts_like_onnx_runtime(base: BaseModel) -> None:
    """Compare the perceptron with the graph."""
    shape = plain_mlp(base)
    assert shape is not None
    features = tensor(50, base.n_features, seed=9)
    ours = BoundMlp(shape, base.vector()).forward(features)
    theirs = OnnxModel(base.serialized).predict(features)
    assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
