"""`vmafx-sidecar score` on logs that libvmaf wrote."""

import csv
import json
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli
from pipeline.data import BASE_MODEL
from pipeline.model.accuracy import plcc, rmse
from pipeline.model.runtime import OnnxModel
from tests.libvmaf.reading import ENCODE, LOGS, read
from tests.support.node_checkpoints import publish


def score(*arguments: str | Path) -> Result:
    """Run the command."""
    return CliRunner().invoke(cli, ["score", *map(str, arguments)], env={"VMAFX_BASE_MODEL_PATH": ""})


def test_figures_are_those_of_the_model_and_the_log() -> None:
    """Prediction, error and correlation, as another way to compute them gives them."""
    expected = read(ENCODE[0], "vmaf_neg")
    predicted = OnnxModel(BASE_MODEL).predict(np.array(expected.features, np.float32))
    done = score(BASE_MODEL, ENCODE[0], "--target", "vmaf_neg", "--format", "json", "--each")
    assert done.exit_code == 0, done.output
    (log,) = json.loads(done.stdout)["logs"]
    assert log["each"]["predicted"] == pytest.approx(predicted.tolist())
    assert log["each"]["measured"] == pytest.approx(expected.scores)
    assert log["rmse"] == pytest.approx(rmse(predicted, expected.scores), rel=1e-4)
    assert log["plcc"] == pytest.approx(plcc(predicted, expected.scores), rel=1e-4)


def test_csv_has_a_line_for_each_frame() -> None:
    """Of every log, with nothing in the place of a score that is not there."""
    done = score(BASE_MODEL, ENCODE[1], LOGS / "float.json", "--target", "vmaf_neg", "--format", "csv")
    lines = list(csv.DictReader(StringIO(done.stdout)))
    assert [line["log"] for line in lines] == [str(ENCODE[1])] * 12 + [str(LOGS / "float.json")] * 12
    assert [int(line["number"]) for line in lines[12:]] == list(range(12))
    assert all(line["measured"] for line in lines[:12])
    assert not any(line["measured"] for line in lines[12:])


def test_table_has_a_row_for_each_log_and_one_for_all() -> None:
    """And no error where there is nothing to compare with, which is said."""
    done = score(BASE_MODEL, ENCODE[0], ENCODE[2])
    assert done.exit_code == 0
    assert "│ all" in done.stdout
    without = score(BASE_MODEL, LOGS / "float.json", "--target", "psnr_hvs")
    assert without.exit_code == 0
    assert without.stderr == "no log has a column psnr_hvs: there is nothing to compare with\n"


def test_what_cannot_be_used_is_told_and_the_rest_is_scored() -> None:
    """Exit code 1."""
    hostile = Path(__file__).with_name("hostile")
    done = score(BASE_MODEL, hostile / "inf.csv", hostile / "entities.xml", ENCODE[0], "--format", "json")
    assert done.exit_code == 1
    assert [log["samples"] for log in json.loads(done.stdout)["logs"]] == [2, 12]
    assert "frame 1: vmaf is inf" in done.stderr
    assert "entities.xml: declares a document type" in done.stderr


def test_a_directory_stands_for_the_checkpoint_that_a_node_would_take(tmp_path: Path) -> None:
    """The newest stable one, or the one that a policy names; where there is none, the newest's reason is given."""
    publish(tmp_path, 1, BASE_MODEL.read_bytes(), state="stable")
    publish(tmp_path, 2, BASE_MODEL.read_bytes(), state="unstable")
    assert "model_v000001.onnx" in score(tmp_path, ENCODE[0]).stdout
    assert "model_v000002.onnx" in score(tmp_path, ENCODE[0], "--policy", "latest").stdout
    none = score(tmp_path, ENCODE[0], "--policy", "pinned:7")
    assert none.exit_code == 1
    assert none.stderr == f"Error: {tmp_path}: no checkpoint for pinned:7\n"


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """Its digest says something else."""
    publish(tmp_path, 1, BASE_MODEL.read_bytes(), state="stable")
    shutil.copy(BASE_MODEL, tmp_path / "model_v000001.onnx")
    (tmp_path / "model_v000001.onnx.sha256").write_text("0" * 64 + "\n")
    done = score(tmp_path, ENCODE[0])
    assert done.exit_code == 1
    assert "its digest is not" in done.stderr


def test_features_that_do_not_fit_the_model_are_refused() -> None:
    """Before any log is read."""
    done = score(BASE_MODEL, ENCODE[0], "--features", "adm2,motion2")
    assert done.exit_code == 1
    assert "takes 6 features; 2 are named: give --features" in done.stderr
