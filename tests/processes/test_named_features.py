"""Models that take something else than the six: from the node and a fixture, by name, to a stable checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import data
from pipeline.corpus.packed import pack, write_npz
from pipeline.corpus.read import load_corpus, of_models
from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import rmse
from pipeline.model.features import SIX, Features
from pipeline.model.runtime import OnnxModel, taken_by
from pipeline.offline.cli import train
from tests.support.sidecar import QUICK, Sidecar, running

pytestmark = pytest.mark.processes

STREAM = ["aslbook", "bottle", "carphone", "chaplin", "glacier", "life", "pan_astro", "pan_china", "pan_retina"]
JUDGE = ["cars", "cockatoo", "pan_ihc", "testsrc2"]
MADE_UP = tuple(f"texture_{i}" for i in range(80))


def as_csv(path: Path, corpus: Corpus, target: str) -> Path:
    """Write rows as text, their columns in another order than any model takes them."""
    columns = {**dict(zip(corpus.names, corpus.features.T, strict=True)), **corpus.details}
    columns |= {"codec": corpus.codec, target: corpus.target(target), "source": corpus.source}
    names = sorted(columns, reverse=True)
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def made_up(corpus: Corpus) -> Corpus:
    """Return the same frames with 80 features of our own instead of libvmaf's: fixed mixtures of those, bent."""
    random = np.random.default_rng(7)
    weights, shift = random.standard_normal((6, 80)), random.standard_normal(80)
    scaled = (corpus.features - corpus.features.mean(axis=0)) / corpus.features.std(axis=0)
    arrays = {**vars(corpus), "features": np.tanh(0.5 * (scaled @ weights + shift)).astype(np.float32)}
    return Corpus(**{**arrays, "names": MADE_UP})


def settings_for(base: Path, n_features: int, fixture: Path, target: str) -> dict[str, str]:
    """Return the settings of a sidecar that refines `base` towards `target`, judged by a fixture."""
    return QUICK | {
        "VMAFX_BASE_MODEL_PATH": str(base),
        "VMAFX_SIDECAR_N_FEATURES": str(n_features),
        "VMAFX_SIDECAR_FIXTURE": str(fixture),
        "VMAFX_SIDECAR_FIXTURE_TARGET": target,
    }


def stable_after(sidecar: Sidecar, stream: Path, target: str) -> Path:
    """Play a corpus to a sidecar, and let it train on all of it; return what it calls stable then."""
    stable = sidecar.checkpoints / "latest-stable.onnx"
    options = ["--corpus", str(stream), "--target", target, "--window", "32", "--rate", "1500", "--samples", "4000"]
    fed = sidecar.command("feed", *options)
    assert fed.returncode == 0, fed.stderr
    sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == sidecar.ring().head)
    exported = sidecar.command("export")
    assert exported.returncode == 0, exported.stderr
    sidecar.wait_for(stable.exists)
    return stable.resolve()


def assert_better(checkpoint: Path, base: Path, judge: Corpus, target: str) -> None:
    """Judge both on what was never sent, each by the names beside it."""
    errors = [rmse(OnnxModel(m).predict(judge.inputs(taken_by(m))), judge.target(target)) for m in (checkpoint, base)]
    assert errors[0] < 0.5 * errors[1]


def test_the_codec_block_goes_all_the_way(shared_models: Path, shared_data: Path, tmp_path: Path) -> None:
    """The platform's two-input model, its fixture in text, its frames from Parquet."""
    base = shared_models / "fr_regressor_v2.onnx"
    frames = load_corpus(shared_data / "vmaf_frames.parquet", of_models([taken_by(base)]))
    write_npz(tmp_path / "stream.npz", pack(frames, STREAM, JUDGE, every=2, seed=0))
    judge = frames.rows(frames.mask_of(JUDGE)).rows(slice(0, None, 10))
    fixture = as_csv(tmp_path / "fixture.csv", judge, "vmaf_neg")
    with running(tmp_path, **settings_for(base, 20, fixture, "vmaf_neg")) as sidecar:
        checkpoint = stable_after(sidecar, tmp_path / "stream.npz", "vmaf_neg")
        said = json.loads(checkpoint.with_suffix(".json").read_text())
        assert "fixture" in said["metrics"]
        assert tuple(said["features"]) == taken_by(base).names
        assert_better(checkpoint, base, judge, "vmaf_neg")


def test_eighty_features_go_all_the_way(tmp_path: Path) -> None:
    """Made by `train` on columns that the command names, then refined with a fixture of the same columns."""
    frames = made_up(load_corpus(data.CORPUS))
    write_npz(tmp_path / "frames.npz", frames.rows(slice(0, None, 5)))
    learned = ["--val-source", ",".join(JUDGE), "--epochs", "10", "--seeds", "2", "--name", "mine", "-o", str(tmp_path)]
    made = CliRunner().invoke(train, [str(tmp_path / "frames.npz"), *learned])
    assert made.exit_code == 0, made.output
    base = tmp_path / "mine.onnx"
    assert taken_by(base).names == MADE_UP
    write_npz(tmp_path / "stream.npz", frames)
    judge = frames.only("judge").rows(slice(0, None, 5))
    fixture = as_csv(tmp_path / "fixture.csv", judge, "vmaf_phone")
    with running(tmp_path, **settings_for(base, 80, fixture, "vmaf_phone")) as sidecar:
        checkpoint = stable_after(sidecar, tmp_path / "stream.npz", "vmaf_phone")
        assert taken_by(checkpoint).names == MADE_UP
        assert_better(checkpoint, base, judge, "vmaf_phone")


def test_a_fixture_of_other_columns_ends_the_start(tmp_path: Path) -> None:
    """With the code of bad settings, and one line that lists what is missing and what there is."""
    base = tmp_path / "base.onnx"
    base.write_bytes(data.BASE_MODEL.read_bytes())
    base.with_suffix(".json").write_text(json.dumps({"features": [*SIX[:5], "psnr_y"]}))
    fixture = as_csv(tmp_path / "fixture.csv", load_corpus(data.CORPUS).rows(slice(0, None, 20)), "vmaf")
    settings = QUICK | {"VMAFX_BASE_MODEL_PATH": str(base), "VMAFX_SIDECAR_FIXTURE": str(fixture)}
    with Sidecar(tmp_path, **settings) as sidecar:
        assert sidecar.launch().wait(60) == 78
    assert (
        f"VMAFX_SIDECAR_FIXTURE: {fixture}, for base.onnx: no column for psnr_y, 1 of 6 features; there is adm2, "
        "codec, motion2, source, vif_scale0"
    ) in sidecar.log()


def test_features_without_names_are_taken_in_their_order() -> None:
    """A model that names none is given a packed corpus's own order where that has as many."""
    corpus = made_up(load_corpus(data.CORPUS).rows(slice(10)))
    unnamed = Features.of([f"f{i}" for i in range(80)], named=False)
    assert corpus.inputs(unnamed) is corpus.features
