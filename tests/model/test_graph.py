"""Base models: which weights train, what the published file is, and what is refused."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, UnusableModel, load_base_model, parse_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.node.model import NodeModel, Origin
from tests.support.graphs import gemm, layers, model, node, perceptron, tensor


def parse(proto: ModelProto) -> BaseModel:
    """Make a base model of a proto."""
    return parse_base_model(proto.SerializeToString(), "test.onnx")


def names(base: BaseModel) -> list[str]:
    """Return the names of the trained tensors."""
    return [parameter.name for parameter in base.parameters]


def test_a_model_is_shown_in_a_line(tmp_path: Path) -> None:
    """In a log, a traceback or a debugger: its name and size, not its bytes."""
    base = parse(perceptron())
    path = tmp_path / "m.onnx"
    path.write_bytes(base.serialized)
    assert repr(base) == "BaseModel('test.onnx', 6 features, 33 parameters)"
    assert repr(OnnxModel(path)) == "OnnxModel('m.onnx', 6 features)"
    loaded = NodeModel.load(Origin("m.onnx", base.serialized))
    assert repr(loaded) == "NodeModel(origin=Origin('m.onnx'), session=OnnxModel('model', 6 features))"


REAL = ["fr_regressor_v1", "fr_regressor_v2", "vmaf_tiny_v1", "vmaf_tiny_v2", "vmaf_tiny_v4"]


@pytest.mark.parametrize("name", REAL)
def test_real_models_change_in_their_weights_only(shared_models: Path, name: str) -> None:
    """Other weights give a file that differs in the trained tensors' bytes and nowhere else, and computes with them."""
    base = load_base_model(shared_models / f"{name}.onnx")
    weights = base.vector() + tensor(base.n_parameters)
    changed = base.with_weights(weights)
    assert len(changed) == len(base.serialized)
    before, after = ModelProto.FromString(base.serialized), ModelProto.FromString(changed)
    trained = {parameter.name: parameter for parameter in base.parameters}
    for old, new in zip(before.graph.initializer, after.graph.initializer, strict=True):
        if old.name in trained:
            part = trained[old.name]
            expected = weights[part.offset : part.offset + part.size].reshape(part.shape)
            np.testing.assert_array_equal(numpy_helper.to_array(new), expected)
            new.raw_data = old.raw_data
    assert after == before
    features = tensor(5, base.n_features)
    assert not np.allclose(OnnxModel(changed).predict(features), OnnxModel(base.serialized).predict(features))


@pytest.mark.parametrize("name", REAL)
def test_real_models_train_their_layers_and_nothing_else(shared_models: Path, name: str) -> None:
    """Every initializer called weight or bias trains; mean, std and the constants of GELU do not."""
    base = load_base_model(shared_models / f"{name}.onnx")
    layered = [t.name for t in base.proto.graph.initializer if t.name.endswith(("weight", "bias"))]
    assert sorted(names(base)) == sorted(layered)


@pytest.mark.parametrize("name", REAL)
def test_real_models_say_the_same_self_contained(shared_models: Path, name: str) -> None:
    """With its external weights inlined a model predicts as the shipped files do."""
    base = load_base_model(shared_models / f"{name}.onnx")
    features = tensor(7, base.n_features)
    shipped = OnnxModel(shared_models / f"{name}.onnx")
    np.testing.assert_array_equal(OnnxModel(base.serialized).predict(features), shipped.predict(features))


def test_own_weights_give_the_same_bytes() -> None:
    """The digest is that of the self-contained file, and parsing that file again changes nothing."""
    base = parse(perceptron())
    assert base.with_weights(base.vector()) == base.serialized
    assert base.digest == hashlib.sha256(base.serialized).hexdigest()
    assert parse_base_model(base.serialized, "again").serialized == base.serialized


def test_vector_is_in_graph_order() -> None:
    """Weight before bias, layer by layer; a copy that its owner may change."""
    base = parse(perceptron())
    assert names(base) == ["w0", "b0", "w1", "b1"]
    assert [(p.shape, p.offset, p.size) for p in base.parameters] == [
        ((4, 6), 0, 24),
        ((4,), 24, 4),
        ((1, 4), 28, 4),
        ((1,), 32, 1),
    ]
    expected = np.concatenate([array.ravel() for array in layers().values()])
    vector = base.vector()
    np.testing.assert_array_equal(vector, expected, strict=True)
    vector[:] = 0
    np.testing.assert_array_equal(base.vector(), expected)


@pytest.mark.parametrize("size", [0, 32, 34])
def test_a_vector_of_another_length_is_refused(size: int) -> None:
    """Never cut, never repeated."""
    with pytest.raises(ValueError, match=r"\(33,\) expected"):
        parse(perceptron()).with_weights(np.zeros(size, np.float32))


def test_two_inputs_are_one_flat_vector() -> None:
    """In graph order, which is also how ONNX Runtime gets them."""
    nodes = [node("Concat", ["b", "a"], "all", axis=1), gemm("last", "all", "w", output="score", transB=1)]
    weights = np.array([[1, 10, 100]], np.float32)
    base = parse(model(nodes, {"w": weights}, inputs=[("a", ("n", 2)), ("b", ("n", 1))]))
    assert base.inputs == (("a", 2), ("b", 1))
    assert base.n_features == 3
    scores = OnnxModel(base.serialized).predict(np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    np.testing.assert_array_equal(scores, [3 + 10 + 200, 6 + 40 + 500])


def matmul_add() -> ModelProto:
    """Use MatMul and Add for Gemm, in both orders of operands."""
    nodes = [
        node("MatMul", ["features", "w0"], "product"),
        node("Add", ["b0", "product"], "hidden"),
        node("Relu", ["hidden"], "active"),
        node("MatMul", ["active", "w1"], "product1"),
        node("Add", ["product1", "b1"], "score"),
    ]
    return model(nodes, {"w0": tensor(6, 4), "b0": tensor(4), "w1": tensor(4, 1), "b1": tensor(1)})


def not_transposed() -> ModelProto:
    """Use Gemm with transB=0, alpha and beta."""
    nodes = [gemm("last", "features", "w", "b", output="score", alpha=0.5, beta=2.0)]
    return model(nodes, {"w": tensor(6, 1), "b": tensor(1)})


def tied() -> ModelProto:
    """Use one square weight used by two layers."""
    nodes = [gemm("a", "features", "w"), gemm("b", "a", "w"), gemm("last", "b", "v", output="score")]
    return model(nodes, {"w": tensor(6, 6), "v": tensor(6, 1)})


def normalised() -> ModelProto:
    """Put LayerNormalization between layers, and a Sigmoid times 100."""
    nodes = [
        gemm("hidden", "features", "w0", "b0", transB=1),
        node("LayerNormalization", ["hidden", "scale", "shift"], "normal"),
        gemm("last", "normal", "w1", "b1", transB=1),
        node("Sigmoid", ["last"], "share"),
        node("Mul", ["share", "hundred"], "score"),
    ]
    frozen = {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32), "hundred": np.array(100, np.float32)}
    return model(nodes, {**layers(), **frozen})


def transposed_first() -> ModelProto:
    """Have weights that reach MatMul through Transpose and Identity, as some exporters write them."""
    nodes = [
        node("Transpose", ["w0"], "turned", perm=[1, 0]),
        node("Identity", ["turned"], "same"),
        node("MatMul", ["features", "same"], "product"),
        node("Add", ["product", "b0"], "hidden"),
        gemm("last", "hidden", "w1", "b1", output="score", transB=1),
    ]
    return model(nodes, layers())


def spelled_out_hard_swish() -> ModelProto:
    """Add a scalar 3 to what MatMul gives, which is no bias; nor is a vector added behind a bias."""
    nodes = [
        node("MatMul", ["features", "w0"], "product"),
        node("Add", ["product", "three"], "shifted"),
        node("Clip", ["shifted", "zero", "six"], "clipped"),
        gemm("last", "clipped", "w1", "b1", transB=1),
        node("Add", ["last", "offset"], "score"),
    ]
    frozen = {"three": np.array(3, np.float32), "zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
    return model(nodes, {"w0": tensor(6, 4), "w1": tensor(1, 4), "b1": tensor(1), "offset": tensor(1), **frozen})


def shared_with_a_constant() -> ModelProto:
    """Have one tensor that is a bias and a mean: training it would move the standardisation."""
    nodes = [node("Sub", ["features", "zeros"], "centred"), gemm("last", "centred", "w", "zeros")]
    nodes.append(node("ReduceMean", ["last"], "score", axes=[1], keepdims=1))
    return model(nodes, {"zeros": np.zeros(6, np.float32), "w": tensor(6, 6)})


@pytest.mark.parametrize(
    ("proto", "trained"),
    [
        (matmul_add(), ["w0", "b0", "w1", "b1"]),
        (not_transposed(), ["w", "b"]),
        (tied(), ["w", "v"]),
        (normalised(), ["w0", "b0", "w1", "b1"]),
        (transposed_first(), ["w0", "b0", "w1", "b1"]),
        (spelled_out_hard_swish(), ["w0", "w1", "b1"]),
        (shared_with_a_constant(), ["w"]),
    ],
    ids=["MatMul and Add", "transB 0", "tied", "LayerNorm, Sigmoid", "Transpose", "hard swish", "shared"],
)
def test_what_trains(proto: ModelProto, trained: list[str]) -> None:
    """Layers' weights and biases, once each, in the order of their use."""
    base = parse(proto)
    assert names(base) == trained
    assert np.isfinite(OnnxModel(base.serialized).predict(tensor(3, 6))).all()


def constant_nodes() -> ModelProto:
    """Have weights as Constant nodes, one a list of floats."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(tensor(1, 6))),
        helper.make_node("Constant", [], ["b"], value_floats=[0.5]),
        gemm("last", "features", "w", "b", output="score", transB=1),
    ]
    return model(nodes, {})


def float_data() -> ModelProto:
    """Have weights in the typed field instead of raw bytes."""
    proto = model([gemm("last", "features", "w", output="score")], {})
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [6, 1], tensor(6).tolist()))
    return proto


def listed_as_input() -> ModelProto:
    """List initializers that are also graph inputs, as old exporters write them."""
    proto = perceptron()
    proto.graph.input.extend(
        helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.dims) for t in proto.graph.initializer
    )
    return proto


@pytest.mark.parametrize(
    "proto", [constant_nodes(), float_data(), listed_as_input()], ids=["Constant", "float_data", "inputs"]
)
def test_wherever_the_weights_are_they_can_be_replaced(proto: ModelProto) -> None:
    """The file with zero weights scores zero; the base model's own weights score as the original file."""
    base = parse(proto)
    features = tensor(4, 6)
    original = OnnxModel(proto.SerializeToString()).predict(features)
    np.testing.assert_array_equal(OnnxModel(base.serialized).predict(features), original)
    zero = base.with_weights(np.zeros(base.n_parameters, np.float32))
    np.testing.assert_array_equal(OnnxModel(zero).predict(features), np.zeros(4, np.float32))
    assert base.inputs == (("features", 6),)


@pytest.mark.parametrize("opset", [14, 16, 18, 20])
def test_an_opset_under_which_the_graph_means_the_same_becomes_17(opset: int) -> None:
    """Gemm and Relu have not changed: only the label does."""
    base = parse(perceptron(opset=opset))
    assert base.proto.opset_import[0].version == 17
    expected = OnnxModel(perceptron().SerializeToString()).predict(tensor(3, 6))
    np.testing.assert_array_equal(OnnxModel(base.serialized).predict(tensor(3, 6)), expected)


def test_an_operator_that_another_opset_defines_otherwise_is_refused() -> None:
    """ReduceMean takes its axes as an input since opset 18."""
    nodes = [gemm("hidden", "features", "w"), node("ReduceMean", ["hidden", "axes"], "score")]
    proto = model(nodes, {"w": tensor(6, 6), "axes": np.array([1], np.int64)}, opset=18)
    with pytest.raises(UnusableModel, match=r"test\.onnx: node 'score' \(ReduceMean\): opset 18.*opset 17"):
        parse(proto)


def test_default_network_is_the_contracts() -> None:
    """Linear(80, 64), ReLU, Linear(64, 1): 5249 weights, another seed gives other ones."""
    base = parse(two_layer(80))
    assert (base.inputs, base.n_parameters) == ((("features", 80),), 80 * 64 + 64 + 64 + 1)
    assert [n.op_type for n in base.proto.graph.node] == ["Gemm", "Relu", "Gemm"]
    assert not np.array_equal(parse(two_layer(80, seed=1)).vector(), base.vector())
    assert parse(two_layer(80)).digest == base.digest


def test_checker_accepts_what_is_published() -> None:
    """The full check of onnx, shapes included."""
    onnx.checker.check_model(parse(normalised()).serialized, full_check=True)
