"""What the operator gives as base model: nothing, a state dict, a file that is not there yet, one that is no use."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import onnx
import pytest
import torch

from pipeline import data
from pipeline.runtime.lifecycle import ExitCode
from tests.base_models.real_frames import export, rows, send, trained
from tests.support.sidecar import COMMAND, SIX, Sidecar, running

pytestmark = pytest.mark.processes


def test_without_a_base_model_a_network_is_trained(tmp_path: Path) -> None:
    """A two-layer network for the configured width, and `status` says that it began untrained."""
    features, scores = rows(9, 300)
    with running(tmp_path, VMAFX_SIDECAR_N_FEATURES="9") as sidecar:
        send(sidecar, features, scores)
        assert trained(sidecar, 300).base_model == "untrained network"
        model = onnx.load(export(sidecar))
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm"]
    assert model.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 9


def test_a_state_dict_is_a_base_model(tmp_path: Path) -> None:
    """The weights of Linear, ReLU, Linear in a .pt file are where training begins."""
    network = torch.nn.Sequential(torch.nn.Linear(6, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    torch.save(network.state_dict(), tmp_path / "base.pt")
    settings = SIX | {"VMAFX_BASE_MODEL_PATH": str(tmp_path / "base.pt")}
    features, scores = rows(6, 300)
    with running(tmp_path, **settings) as sidecar:
        send(sidecar, features, scores)
        assert trained(sidecar, 300).base_model == "base.pt"
        names = {tensor.name for tensor in onnx.load(export(sidecar)).graph.initializer}
    assert names == set(network.state_dict())


def test_samples_wait_for_a_model_that_is_not_there_yet(tmp_path: Path) -> None:
    """Meanwhile they are accepted and kept, the phase is `initializing`; when the file comes, all are trained on."""
    late = tmp_path / "late.onnx"
    settings = SIX | {"VMAFX_BASE_MODEL_PATH": str(late)}
    features, scores = rows(6, 300)
    with Sidecar(tmp_path, **settings) as sidecar:
        sidecar.launch()
        sidecar.wait_for(sidecar.is_served)
        send(sidecar, features, scores)
        sidecar.wait_for(lambda: sidecar.reported().trainer.problem)
        trainer = sidecar.reported().trainer
        assert trainer.phase == "initializing"
        assert str(late) in trainer.problem
        shutil.copy(data.BASE_MODEL, late)
        assert trained(sidecar, 300).evicted_untrained == 0


@pytest.mark.parametrize("kind", ["int8", "wrong width", "not a model", "pickle"])
def test_a_model_that_is_no_use_ends_the_sidecar(kind: str, tmp_path: Path) -> None:
    """With the documented code and one line that names the model and what is wrong; no traceback, no other model."""
    path, code, words = _useless(kind, tmp_path)
    with Sidecar(tmp_path, **SIX, VMAFX_BASE_MODEL_PATH=str(path)) as sidecar:
        assert sidecar.launch().wait(60) == code
    log = sidecar.log()
    assert "Traceback" not in log
    reasons = [json.loads(line).get("reason", "") for line in log.splitlines() if line.startswith("{")]
    assert any(path.name in reason and all(word in reason for word in words) for reason in reasons), log


def test_several_bad_settings_are_named_at_once() -> None:
    """Before anything starts, one line each, with the documented code."""
    environment = {"VMAFX_SIDECAR_LR": "fast", "VMAFX_SIDECAR_BATCH_SIZE": "0", "PATH": "/usr/bin"}
    done = subprocess.run([*COMMAND, "run"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.BAD_SETTINGS
    assert [line.split("=")[0] for line in done.stderr.splitlines()] == [
        "vmafx-sidecar: VMAFX_SIDECAR_BATCH_SIZE",
        "vmafx-sidecar: VMAFX_SIDECAR_LR",
    ]


def _useless(kind: str, directory: Path) -> tuple[Path, int, list[str]]:
    """Return a base model that cannot be used, the exit code, and what the reason has to say."""
    path = directory / "useless.onnx"
    if kind == "int8":
        model = onnx.load(data.BASE_MODEL)
        node = onnx.helper.make_node("QuantizeLinear", [model.graph.input[0].name, "s", "z"], ["q"], "to_int8")
        model.graph.node.insert(0, node)
        model.graph.initializer.append(onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [], [0.1]))
        model.graph.initializer.append(onnx.helper.make_tensor("z", onnx.TensorProto.INT8, [], [0]))
        onnx.save(model, path)
        return path, ExitCode.BASE_MODEL_UNUSABLE, ["QuantizeLinear", "to_int8"]
    if kind == "wrong width":
        onnx.save(_of_width(7), path)
        return path, ExitCode.BAD_SETTINGS, ["7", "6"]
    if kind == "not a model":
        path.write_bytes(b"this is no model" * 10)
        return path, ExitCode.BASE_MODEL_UNUSABLE, []
    path = directory / "useless.pt"
    torch.save({"model": object}, path)
    return path, ExitCode.BASE_MODEL_UNUSABLE, ["state dict"]


def _of_width(n_features: int) -> onnx.ModelProto:
    from pipeline.model.default_network import two_layer

    return two_layer(n_features)
