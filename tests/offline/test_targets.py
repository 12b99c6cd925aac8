"""Training and evaluation by name: which columns are features, which score is learned, and how clips are judged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import data
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import rmse
from pipeline.model.features import SIX
from pipeline.model.runtime import OnnxModel, taken_by
from pipeline.model.verify import verify
from pipeline.offline.cli import evaluate, train
from pipeline.registry.cli import registry

FAST = ("--epochs", "10", "--seeds", "2", "--resamples", "5")


def run(command: Any, *arguments: object) -> str:
    """Call a command that is to end well; return its output."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def figures(report: Path) -> dict[str, Any]:
    """Return the first model's first group: all rows."""
    group: dict[str, Any] = json.loads(report.read_text())[0]["groups"][0]
    return group


def of_clips(values: Any, clip: Any) -> Any:
    """Return the mean of each clip."""
    _, number = np.unique(clip, return_inverse=True)
    return np.bincount(number, values) / np.bincount(number)


@pytest.fixture(scope="module")
def rated() -> Corpus:
    """Return frames whose clips have a made-up opinion: a bent mean score; one source in three has none."""
    corpus = load_corpus(data.CORPUS).rows(slice(0, None, 25))
    means = of_clips(corpus.target("vmaf"), corpus.clip)[np.unique(corpus.clip, return_inverse=True)[1]]
    mos = (100 * (means / 100) ** 2).astype(np.float32)
    mos[np.isin(corpus.source, corpus.sources()[::3])] = np.nan
    return Corpus(**{**vars(corpus), "targets": {**corpus.targets, "mos": mos}})


@pytest.fixture(scope="module")
def corpus(rated: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same as a file."""
    path = tmp_path_factory.mktemp("corpus") / "rated.npz"
    write_npz(path, rated)
    return path


@pytest.mark.parametrize("source", ["mos", "hybrid"])
def test_opinions_are_learned(rated: Corpus, corpus: Path, tmp_path: Path, source: str) -> None:
    """From the clips that have one; the figures in the .json are of clips, and `evaluate` finds the same."""
    left_out = [name for name in rated.sources() if name not in rated.sources()[::3]][:2]
    options = ("--targets-source", source, "--val-source", ",".join(left_out), "--name", "mine", "-o", tmp_path)
    run(train, corpus, *options, *FAST)
    model = tmp_path / "mine.onnx"
    assert all(check.passed for check in verify(model))
    unseen = rated.rows(rated.mask_of(left_out))
    predicted = OnnxModel(model).predict(unseen.features)
    expected = rmse(of_clips(predicted, unseen.clip), of_clips(unseen.target("mos"), unseen.clip))
    said = json.loads(model.with_suffix(".json").read_text())
    assert said["training"]["target"] == "mos"
    assert said["training"]["rows"] == int(np.isfinite(rated.target("mos")[~rated.mask_of(left_out)]).sum())
    assert said["metrics"]["rows"] == len(np.unique(unseen.clip))
    assert said["metrics"]["rmse"] == pytest.approx(expected, rel=1e-4)
    arguments = ("--target", "mos", "--sources", ",".join(left_out), "--resamples", "5", "-o", tmp_path / "report")
    run(evaluate, model, corpus, *arguments)
    found = figures(tmp_path / "report" / "evaluation.json")
    assert found["rows"] == len(np.unique(unseen.clip))
    assert found["figures"]["rmse"]["value"] == pytest.approx(expected, rel=1e-4)
    base = OnnxModel(data.BASE_MODEL).predict(unseen.features)
    assert expected < rmse(of_clips(base, unseen.clip), of_clips(unseen.target("mos"), unseen.clip))
    run(registry, "add", model)
    assert "viewers' mean opinion of whole clips" in model.with_suffix(".md").read_text()


def test_every_source_is_judged_by_clips(rated: Corpus, corpus: Path, tmp_path: Path) -> None:
    """Left out in turn, the hybrid way: sources without an opinion teach, and are not judged."""
    run(train, corpus, "--loso", "--targets-source", "hybrid", "--arch", "linear", "-o", tmp_path, *FAST)
    (report,) = json.loads((tmp_path / "loso.json").read_text())
    judged = {group["name"] for group in report["groups"] if group["kind"] == "source"}
    assert judged == set(rated.with_score("mos").sources())
    assert not list(tmp_path.glob(".*"))


def test_a_corpus_without_opinions_is_named(tmp_path: Path) -> None:
    """In one line, before anything is trained."""
    result = CliRunner().invoke(train, [str(data.CORPUS), "--targets-source", "mos", "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "corpus.npz: no column mos or ground_truth_score; there is adm2" in result.output.splitlines()[-1]


def test_columns_of_a_pattern_are_features(corpus: Path, tmp_path: Path) -> None:
    """In the order of the command, which the model's .json and its card repeat."""
    run(train, corpus, "--features", "motion2,vif*", "--arch", "linear", "-o", tmp_path, *FAST)
    model = tmp_path / "linear.onnx"
    assert taken_by(model).names == ("motion2", *SIX[1:5])
    run(registry, "add", model)
    assert "Input: motion2, vif_scale0, vif_scale1" in model.with_suffix(".md").read_text()


def test_models_of_different_features_are_compared(corpus: Path, tmp_path: Path) -> None:
    """Each is given what its .json names, in its own order."""
    run(train, corpus, "--features", "motion2,vif*", "--name", "five", "-o", tmp_path, *FAST)
    run(evaluate, tmp_path / "five.onnx", data.BASE_MODEL, corpus, "--resamples", "0", "-o", tmp_path / "report")
    reports = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    rows = load_corpus(corpus)
    five = OnnxModel(tmp_path / "five.onnx").predict(rows.features[:, [5, 1, 2, 3, 4]])
    for report, predicted in zip(reports, (five, OnnxModel(data.BASE_MODEL).predict(rows.features)), strict=True):
        assert report["groups"][0]["figures"]["rmse"]["value"] == pytest.approx(rmse(predicted, rows.target("vmaf")))
