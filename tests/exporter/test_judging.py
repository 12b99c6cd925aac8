"""The operator's fixture: a file of scored rows, by which candidates are judged whatever comes in."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus.table import CorpusError
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.exporter.judging import Fixture, Judging
from pipeline.model.graph import BaseModel, load_base_model, parse_base_model
from pipeline.model.runtime import OnnxModel
from tests.exporter.making import small_model

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
    judging = Judging(tmp_path, Fixture(CORPUS, "vmaf"), DELTA)
    found = judging.verdict(OnnxModel(good.serialized), biased, None, None)
    assert found.state == "stable"
    assert found.metrics["fixture"].groups > 4
    worse = judging.verdict(OnnxModel(biased.serialized), good, None, None)
    assert worse.state == "unstable"
    assert worse.reason.startswith("fixture: RMSE 2")


def test_a_fixture_that_changes_is_read_again(tmp_path: Path) -> None:
    """The same file gives the same rows; a removed one is an error, and once it is back it is read."""
    path = tmp_path / "fixture.npz"
    shutil.copy(CORPUS, path)
    fixture = Fixture(path, "vmaf")
    rows = fixture.rows(6)
    assert fixture.rows(6) is rows
    path.unlink()
    with pytest.raises(CorpusError, match=r"fixture\.npz"):
        fixture.rows(6)
    shutil.copy(CORPUS, path)
    os.utime(path, ns=(1, 1))
    assert fixture.rows(6) is not rows


def test_a_fixture_of_other_features_proves_nothing(tmp_path: Path) -> None:
    """Nor does one without the score that was asked for; the reason names the file."""
    with pytest.raises(CorpusError, match="6 features, the model takes 80"):
        Fixture(CORPUS, "vmaf").rows(80)
    judging = Judging(tmp_path, Fixture(CORPUS, "mos"), DELTA)
    found = judging.verdict(OnnxModel(small_model().serialized), small_model(seed=1), None, None)
    assert found.state == "unproven"
    assert found.reason.startswith("fixture: no target 'mos' in this corpus")
