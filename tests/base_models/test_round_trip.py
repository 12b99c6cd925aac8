"""What comes out of the sidecar is the base model with other weights, and predicts like the trainer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline import data
from pipeline.model.graph import BaseModel, load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner
from tests.base_models.real_frames import export, rows, send, snapshot, trained
from tests.support.sidecar import COMMAND, running

SAMPLES = 600
SHIPPED = ["vmaf_tiny_v1", "vmaf_tiny_v2", "vmaf_tiny_v4", "fr_regressor_v1", "fr_regressor_v2"]


@pytest.mark.processes
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_comes_back_trained(name: str, shared_models: Path, tmp_path: Path) -> None:
    """Each real model trains; only its trained initializers differ; the checkpoint verifies and says what EMA says."""
    _round_trip(shared_models / f"{name}.onnx", tmp_path)


@pytest.mark.processes
def test_the_projects_own_model_comes_back_trained(tmp_path: Path) -> None:
    """The same with the base model in the package, which is always there."""
    _round_trip(data.BASE_MODEL, tmp_path)


def _round_trip(path: Path, directory: Path) -> None:
    base = load_base_model(path)
    features, scores = rows(base.n_features, SAMPLES)
    settings = {"VMAFX_BASE_MODEL_PATH": str(path), "VMAFX_SIDECAR_N_FEATURES": str(base.n_features)}
    with running(directory, **settings) as sidecar:
        send(sidecar, features, scores)
        assert trained(sidecar, SAMPLES).base_model == path.name
        checkpoint = export(sidecar)
        ema = snapshot(sidecar).export_vector()
    assert subprocess.run([*COMMAND, "verify", str(checkpoint)], capture_output=True, check=False).returncode == 0
    _differs_only_in_weights(base, checkpoint)
    reference = TorchLearner(base, Recipe(), "cpu").predict(features, ema)
    assert np.allclose(OnnxModel(checkpoint).predict(features), reference, rtol=1e-5, atol=1e-4)


def _differs_only_in_weights(base: BaseModel, checkpoint: Path) -> None:
    trained = {parameter.name for parameter in base.parameters}
    ours = onnx.load(checkpoint)
    assert any(_bytes(ours, name) != _bytes(base.proto, name) for name in trained)
    for name in trained:
        _tensor(ours, name).raw_data = _bytes(base.proto, name)
    assert ours.SerializeToString(deterministic=True) == base.serialized


def _tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return found


def _bytes(model: onnx.ModelProto, name: str) -> bytes:
    return bytes(_tensor(model, name).raw_data)
