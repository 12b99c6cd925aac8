"""Models that cannot be fine-tuned: each refused with the model, the place, what was found and what was expected."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.model.default_network import from_state_dict
from pipeline.model.graph import UnusableModel, load_base_model, parse_base_model
from pipeline.model.runtime import OnnxModel
from tests.support.graphs import gemm, layers, model, node, perceptron, tensor


def quantised() -> ModelProto:
    """Make int8 weights behind DequantizeLinear."""
    nodes = [node("DequantizeLinear", ["q", "scale"], "w"), gemm("last", "features", "w", output="score")]
    return model(nodes, {"q": np.ones((6, 1), np.int8), "scale": np.array(0.1, np.float32)})


def integer_product() -> ModelProto:
    """Make a matrix product of integers."""
    nodes = [node("MatMulInteger", ["features", "w"], "score")]
    return model(nodes, {"w": np.ones((6, 1), np.int8)})


def half() -> ModelProto:
    """Make float16 throughout."""
    return model(
        [gemm("last", "features", "w", output="score")],
        {"w": tensor(6, 1).astype(np.float16)},
        kind=TensorProto.FLOAT16,
    )


def half_weights() -> ModelProto:
    """Make float16 weights under float32 inputs."""
    nodes = [
        node("Cast", ["features"], "narrow", to=TensorProto.FLOAT16),
        gemm("product", "narrow", "w"),
        node("Cast", ["product"], "score", to=TensorProto.FLOAT),
    ]
    return model(nodes, {"w": tensor(6, 1).astype(np.float16)})


def two_outputs() -> ModelProto:
    """Make a score and its variance."""
    nodes = [gemm("last", "features", "w", output="score"), node("Abs", ["score"], "variance")]
    return model(nodes, {"w": tensor(6, 1)}, outputs=[("score", ("n", 1)), ("variance", ("n", 1))])


def wide_output() -> ModelProto:
    """Make five scores a row."""
    return model([gemm("last", "features", "w", output="score")], {"w": tensor(6, 5)}, outputs=[("score", ("n", 5))])


def image_input() -> ModelProto:
    """Take pixels, not features."""
    nodes = [node("Conv", ["features", "w"], "score")]
    return model(
        nodes, {"w": tensor(1, 3, 4, 4)}, inputs=[("features", ("n", 3, 4, 4))], outputs=[("score", ("n", 1, 1, 1))]
    )


def open_width() -> ModelProto:
    """Make a feature vector of any length."""
    return perceptron(inputs=[("features", ("n", "m"))])


def no_weights() -> ModelProto:
    """Make a mean of the features."""
    return model([node("ReduceMean", ["features"], "score", axes=[1], keepdims=1)], {})


def foreign_operator() -> ModelProto:
    """Make an operator of a domain that libvmaf does not load."""
    contrib = helper.make_node("BiasGelu", ["features", "b"], ["h"], "gelu", domain="com.microsoft")
    proto = model([contrib, gemm("last", "h", "w", output="score")], {"w": tensor(6, 1), "b": tensor(6)})
    proto.opset_import.append(helper.make_operatorsetid("com.microsoft", 1))
    return proto


def forbidden_operator() -> ModelProto:
    """Make a standard operator outside the allow-list."""
    nodes = [node("Sin", ["features"], "h"), gemm("last", "h", "w", output="score")]
    return model(nodes, {"w": tensor(6, 1)})


def branch() -> ModelProto:
    """Make control flow."""
    inner = helper.make_graph(
        [node("Identity", ["score0"], "inner")],
        "then",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    choose = helper.make_node("If", ["flag"], ["score"], "choose", then_branch=inner, else_branch=inner)
    nodes = [gemm("last", "features", "w", output="score0"), choose]
    return model(nodes, {"w": tensor(6, 1), "flag": np.array(True)})


def not_finite() -> ModelProto:
    """Make a weight that is not a number."""
    weights = tensor(6, 1)
    weights[3] = np.nan
    return model([gemm("last", "features", "w", output="score")], {"w": weights})


def short_raw_data() -> ModelProto:
    """Make fewer bytes than the shape says."""
    proto = perceptron()
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    return proto


def wrong_width() -> ModelProto:
    """Make a layer that does not fit the one before."""
    return model([gemm("last", "features", "w", output="score")], {"w": tensor(5, 1)})


def sparse() -> ModelProto:
    """Make a sparse initializer."""
    proto = perceptron()
    values, indices = numpy_helper.from_array(tensor(1), "s"), numpy_helper.from_array(np.array([0], np.int64), "i")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (quantised(), r"node 'w' \(DequantizeLinear\): a quantised model.*expected the float32 model"),
        (integer_product(), r"node 'score' \(MatMulInteger\): a quantised model"),
        (half(), r"input 'features' is float16 of shape \(batch, 6\); expected float32"),
        (half_weights(), r"node 'product' \(Gemm\): weights 'w' are float16; expected float32"),
        (two_outputs(), r"2 outputs \('score', 'variance'\); expected one"),
        (wide_output(), r"output 'score' is float of shape \(n, 5\); expected float32 of shape \(batch,\)"),
        (image_input(), r"input 'features' is float of shape \(n, 3, 4, 4\); expected float32 of shape"),
        (open_width(), r"input 'features' is float of shape \(n, m\); expected"),
        (no_weights(), r"no weights to train"),
        (foreign_operator(), r"node 'gelu' \(com\.microsoft\.BiasGelu\): not among the operators"),
        (forbidden_operator(), r"node 'h' \(Sin\): not among the operators"),
        (branch(), r"node 'choose' \(If\): control flow"),
        (not_finite(), r"weights are not all finite"),
        (short_raw_data(), r"w0.*92 bytes"),
        (wrong_width(), r"not a valid ONNX model"),
        (sparse(), r"sparse weights"),
        (perceptron(opset=4), r"opset 4"),
        (ModelProto(), r"no graph"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_with_the_reason(proto: ModelProto, message: str) -> None:
    """The message begins with the model's name."""
    with pytest.raises(UnusableModel, match=rf"^test\.onnx: .*?{message}"):
        parse_base_model(proto.SerializeToString(), "test.onnx")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x0a" * 40, bytes(range(256)) * 20])
def test_bytes_that_are_no_model(data: bytes) -> None:
    """Nothing, text, and noise are all refused in the same way."""
    with pytest.raises(UnusableModel, match=r"^test\.onnx: not an? "):
        parse_base_model(data, "test.onnx")


def test_every_truncation_is_refused_or_usable() -> None:
    """A model cut at any byte never fails in another way than by refusal."""
    whole = perceptron().SerializeToString()
    refused = 0
    for end in range(len(whole)):
        try:
            parse_base_model(whole[:end], "cut.onnx")
        except UnusableModel:
            refused += 1
    assert refused > len(whole) * 0.9


def test_a_file_that_is_far_too_large_is_not_read(tmp_path: Path) -> None:
    """Its size is looked at first."""
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(UnusableModel, match=r"big\.onnx: 68157440 bytes; at most 64 MiB"):
        load_base_model(path)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"a.weight": tensor(4, 6), "a.bias": tensor(4)},
        {"a.weight": tensor(4, 6), "a.bias": tensor(4), "b.weight": tensor(2, 4), "b.bias": tensor(2)},
        {"a.weight": tensor(4, 6), "a.bias": tensor(3), "b.weight": tensor(1, 4), "b.bias": tensor(1)},
        {"a.weight": tensor(4, 6), "a.bias": tensor(4), "b.weight": tensor(1, 5), "b.bias": tensor(1)},
        {"a.weight": tensor(4, 6), "x": tensor(4), "b.weight": tensor(1, 4), "b.bias": tensor(1)},
        {**layers("c."), "extra": tensor(1)},
    ],
)
def test_a_state_dict_of_another_network_is_refused(tensors: dict[str, np.ndarray]) -> None:
    """The message lists what was found and what was expected."""
    with pytest.raises(UnusableModel, match=r"net\.pt: found .*expected weight \(h, n\)"):
        from_state_dict(tensors, "net.pt")


def test_a_state_dict_of_the_two_layer_network_is_taken() -> None:
    """Whatever its layers are called and in whatever order they come."""
    tensors = {
        "net.2.bias": tensor(1),
        "net.2.weight": tensor(1, 4),
        "net.0.weight": tensor(4, 6),
        "net.0.bias": tensor(4),
    }
    base = parse_base_model(from_state_dict(tensors).SerializeToString(), "net.pt")
    assert [p.name for p in base.parameters] == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    features = tensor(3, 6, seed=9)
    hidden = np.maximum(features @ tensors["net.0.weight"].T + tensors["net.0.bias"], 0)
    expected = (hidden @ tensors["net.2.weight"].T + tensors["net.2.bias"]).ravel()
    np.testing.assert_allclose(OnnxModel(base.serialized).predict(features), expected, rtol=1e-5)
