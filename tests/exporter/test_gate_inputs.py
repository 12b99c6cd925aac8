"""GateInputs on the operator's fixture, whatever comes in."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data import BASE_MODEL, CORPUS
from pipeline.exporter.fixture import Fixture
from pipeline.exporter.gate_inputs import GateInputs
from pipeline.model.graph import BaseModel, load_base_model, parse_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.shm.rows import RowBatch

DELTA = 0.005


@pytest.fixture(scope="module")
def good() -> BaseModel:
    """Return the shipped base model, which is nearly right about `vmaf`."""
    return load_base_model(BASE_MODEL)


@pytest.fixture(scope="module")
def biased(good: BaseModel) -> BaseModel:
    """Return the same model, 20 points too high: the last weight is the output's bias."""
    weights = good.vector()
    scale = OnnxModel(good.with_weights(weights + np.eye(1, len(weights), len(weights) - 1, dtype=np.float32)[0]))
    row = np.full((1, good.n_features), 0.5, np.float32)
    step = (scale.predict(row) - OnnxModel(good.serialized).predict(row))[0]
    weights[-1] += 20 / step
    return parse_base_model(good.with_weights(weights), "biased.onnx")


def test_rows_of_a_fixture_decide(good: BaseModel, biased: BaseModel, tmp_path: Path) -> None:
    """The right model in the place of a biased one is stable, without any held-out rows; the other way round never."""
    judging = GateInputs(tmp_path, Fixture(CORPUS, "vmaf", 6), DELTA, tmp_path)
    found = judging.verdict(OnnxModel(good.serialized), biased, None, None)
    assert found.state == "stable"
    assert found.metrics["fixture"].groups > 4
    worse = judging.verdict(OnnxModel(biased.serialized), good, None, None)
    assert worse.state == "unstable"
    assert worse.reason.startswith("fixture: RMSE ")


@pytest.mark.parametrize(("groups", "advised"), [(3, True), (8, False)])
def test_a_stream_of_few_groups_is_told_what_to_send(
    good: BaseModel, tmp_path: Path, groups: int, advised: bool
) -> None:
    """Where too few groups are held out, the verdict names the fields that make one; where rows are too few, not."""
    rows = RowBatch(24, good.n_features)
    rows.group[:] = np.arange(24) % groups
    found = GateInputs(tmp_path, None, DELTA, tmp_path).verdict(OnnxModel(good.serialized), good, None, rows)
    assert found.state == "unproven"
    assert ("source_id" in found.reason) == ("job_id" in found.reason) == advised


def test_without_its_fixture_nothing_is_called_stable(good: BaseModel, biased: BaseModel, tmp_path: Path) -> None:
    """Not even the right model in the place of a biased one; the reason names setting and file."""
    judging = GateInputs(tmp_path, Fixture(tmp_path / "gone.npz", "vmaf", 6), DELTA, tmp_path)
    found = judging.verdict(OnnxModel(good.serialized), biased, None, None)
    assert found.state == "unproven"
    assert found.reason == f"VMAFX_SIDECAR_FIXTURE: {tmp_path}/gone.npz: no such file."
