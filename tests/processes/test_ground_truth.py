"""A sidecar that learns viewers' scores: those that come, scaled; the others are counted."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import rmse
from pipeline.model.graph import load_base_model
from pipeline.model.runtime import OnnxModel
from tests.support.sidecar import QUICK, Sidecar, running

pytestmark = pytest.mark.processes


def with_opinions(corpus: Corpus) -> Corpus:
    """Return the corpus with a made-up opinion of two clips in three: the mean of the clip's score for a phone."""
    _, clip = np.unique(corpus.clip, return_inverse=True)
    means = np.bincount(clip, corpus.target("vmaf_phone")) / np.bincount(clip)
    means[::3] = np.nan
    return Corpus(**{**vars(corpus), "targets": {**corpus.targets, "mos": means[clip].astype(np.float32)}})


def refused(sidecar: Sidecar) -> dict[str, int]:
    """Return how many messages were refused, by reason, as the metrics say."""
    with urllib.request.urlopen(f"{sidecar.url()}/metrics", timeout=10) as answer:  # noqa: S310  our own address
        text = answer.read().decode()
    found = re.findall(r'^vmafx_sidecar_samples_total\{[^}]*reason="(\w+)"[^}]*\} ([\d.e+]+)', text, re.MULTILINE)
    return {reason: int(float(count)) for reason, count in found if float(count)}


def test_opinions_are_learned_and_their_absence_is_counted(tmp_path: Path) -> None:
    """True scores are of another kind here, and none is learned: the stable checkpoint follows the opinions."""
    corpus = with_opinions(load_corpus(data.CORPUS))
    write_npz(tmp_path / "stream.npz", corpus)
    settings = QUICK | {"VMAFX_BASE_MODEL_PATH": str(data.BASE_MODEL), "VMAFX_SIDECAR_TARGET": "ground_truth_score"}
    options = ["--corpus", str(tmp_path / "stream.npz"), "--target", "vmaf", "--ground-truth", "mos"]
    with running(tmp_path, **settings) as sidecar:
        fed = sidecar.command("feed", *options, "--window", "32", "--rate", "1500", "--samples", "8000")
        stable = sidecar.checkpoints / "latest-stable.onnx"
        sidecar.wait_for(stable.exists)
        without = int(np.isnan(corpus.only("stream").target("mos")[:8000]).sum())
        assert f"sent 8000, accepted {8000 - without}, refused {without}" in fed.stdout
        assert sidecar.samples() == 8000 - without
        assert refused(sidecar) == {"no_ground_truth": without}
        judge = corpus.only("judge").with_score("mos")
        errors = [
            rmse(OnnxModel(model).predict(judge.features), judge.target("mos"))
            for model in (stable.resolve(), data.BASE_MODEL)
        ]
        assert errors[0] < 0.6 * errors[1]


def test_another_target_is_another_training(tmp_path: Path) -> None:
    """Rows of one kind of score are neither trained nor judged on for the other; each finds its own again."""
    base = load_base_model(data.BASE_MODEL)
    aimed = base.aimed_at("ground_truth_score")
    assert aimed.digest != base.digest
    assert aimed.proto.graph == base.proto.graph
    settings = QUICK | {"VMAFX_BASE_MODEL_PATH": str(data.BASE_MODEL)}
    options = ["--window", "32", "--rate", "1500", "--samples", "1500"]
    with running(tmp_path, **settings) as sidecar:
        assert sidecar.command("feed", *options).returncode == 0
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == 1500)
        sidecar.stop()
        sidecar.environment["VMAFX_SIDECAR_TARGET"] = "ground_truth_score"
        sidecar.start()
        assert sidecar.reported().trainer.start == 1500
        sidecar.stop()
        del sidecar.environment["VMAFX_SIDECAR_TARGET"]
        sidecar.start()
        assert sidecar.reported().trainer.step > 0
