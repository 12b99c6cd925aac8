"""`vmafx-sidecar verify`: every promise that a published file can break is noticed, by name."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import ModelProto, TensorProto

from pipeline.model.cli import verify as command
from pipeline.model.errors import UnusableModel
from pipeline.model.runtime import OnnxModel
from pipeline.model.verify import verify
from tests.support.graphs import Tensors, gemm, model, node, perceptron, tensor

CHECKS = ["digest", "graph", "single file", "opset", "operators", "run"]


def publish(directory: Path, data: bytes) -> Path:
    """Write a file and its digest."""
    path = directory / "model_v000001.onnx"
    path.write_bytes(data)
    Path(f"{path}.sha256").write_text(hashlib.sha256(data).hexdigest() + "\n")
    return path


def failed(directory: Path, proto: ModelProto) -> str:
    """Return the name of the check that a model fails."""
    *passed, last = verify(publish(directory, proto.SerializeToString()))
    assert all(check.passed for check in passed)
    return "" if last.passed else last.name


def fixed_batch() -> ModelProto:
    """Take one row at a time, by declaration and by its Reshape."""
    nodes = [gemm("last", "features", "w"), node("Reshape", ["last", "one"], "score")]
    tensors: Tensors = {"w": tensor(6, 1), "one": np.array([1], np.int64)}
    return model(nodes, tensors, inputs=[("features", (1, 6))], outputs=[("score", (1,))])


def test_a_good_file_passes_every_check(tmp_path: Path) -> None:
    """All six, in order."""
    checks = verify(publish(tmp_path, perceptron().SerializeToString()))
    assert [check.name for check in checks] == CHECKS
    assert all(check.passed for check in checks)


@pytest.mark.parametrize("text", ["", "0" * 64, "0" * 64 + "\n", None])
def test_a_digest_that_is_wrong_incomplete_or_missing(tmp_path: Path, text: str | None) -> None:
    """64 lower-case digits and a newline, of this file, are expected beside it."""
    path = publish(tmp_path, perceptron().SerializeToString())
    twin = Path(f"{path}.sha256")
    if text is None:
        twin.unlink()
    else:
        twin.write_text(text)
    (check,) = verify(path)
    assert (check.name, check.passed) == ("digest", False)


def test_a_digest_without_its_newline_is_incomplete(tmp_path: Path) -> None:
    """The right digits alone are what a writer that was cut short leaves."""
    path = publish(tmp_path, perceptron().SerializeToString())
    twin = Path(f"{path}.sha256")
    twin.write_text(twin.read_text().strip())
    assert not verify(path)[0].passed


def test_each_broken_promise_has_its_name(tmp_path: Path) -> None:
    """An invalid graph, outside weights, another opset, a forbidden operator, a score that is not finite."""
    invalid = perceptron()
    invalid.graph.node[0].input[0] = "nowhere"
    assert failed(tmp_path, invalid) == "graph"
    assert failed(tmp_path, perceptron(opset=18)) == "opset"
    sine = model([node("Sin", ["features"], "h"), gemm("last", "h", "w", output="score")], {"w": tensor(6, 1)})
    assert failed(tmp_path, sine) == "operators"
    infinite = model([gemm("last", "features", "w", output="score")], {"w": np.full((6, 1), np.inf, np.float32)})
    assert failed(tmp_path, infinite) == "run"
    assert failed(tmp_path, perceptron()) == ""


def test_weights_in_another_file_are_noticed(tmp_path: Path) -> None:
    """Even where that file is there and right."""
    proto = perceptron()
    first = proto.graph.initializer[0]
    (tmp_path / "w.data").write_bytes(first.raw_data)
    first.ClearField("raw_data")
    first.data_location = TensorProto.EXTERNAL
    first.external_data.add(key="location", value="w.data")
    assert failed(tmp_path, proto) in {"graph", "single file"}


def test_a_fixed_batch_of_one_runs_row_by_row(tmp_path: Path) -> None:
    """Its graph is the base model's, so it may be fixed; three rows give what each gives alone."""
    proto = fixed_batch()
    assert failed(tmp_path, proto) == ""
    runner = OnnxModel(proto.SerializeToString())
    features = tensor(3, 6)
    np.testing.assert_array_equal(runner.predict(features), [runner.predict(row[None])[0] for row in features])
    assert runner.predict(features[:0]).shape == (0,)


def test_onnx_runtime_refusing_a_model_is_one_line() -> None:
    """An unusable file is an UnusableModel, not ONNX Runtime's own error."""
    with pytest.raises(UnusableModel, match="ONNX Runtime refuses it") as refused:
        OnnxModel(b"nothing")
    assert "\n" not in str(refused.value)


def test_command_says_what_holds_and_exits_with_0(tmp_path: Path) -> None:
    """One line a check."""
    path = publish(tmp_path, perceptron().SerializeToString())
    result = CliRunner().invoke(command, [str(path)])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == ["ok"] * 6


def test_command_gives_the_reason_and_exits_with_1(tmp_path: Path) -> None:
    """As text and as JSON."""
    path = publish(tmp_path, perceptron(opset=18).SerializeToString())
    result = CliRunner().invoke(command, [str(path)])
    assert (result.exit_code, result.output.splitlines()[-1].split()) == (
        1,
        ["FAIL", "opset", "opset", "18,", "expected", "17"],
    )
    answer = json.loads(CliRunner().invoke(command, [str(path), "--json"]).output)
    assert (answer["ok"], answer["checks"][-1]) == (
        False,
        {"name": "opset", "passed": False, "detail": "opset 18, expected 17"},
    )
