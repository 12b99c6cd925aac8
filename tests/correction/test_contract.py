"""The five promises of the platform's design record for local corrections."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.correction import CorrectedPredictor, CorrectionStore
from pipeline.correction.captures import Features
from pipeline.correction.drift import rms
from pipeline.correction.host import host_id
from pipeline.correction.state import decode, encode
from tests.correction.encodes import encodes


def predictor(features: Features, crf: float, codec: str) -> float:
    """Predict from the CRF alone; deterministic and never changed."""
    return 110.0 - crf - (1.5 if codec == "libx265" else 0.0) + 1e-3 * len(features)


@pytest.mark.parametrize("crf", [10.5, 23.0, 51.0])
def test_cold_start_is_pass_through(tmp_path: Path, crf: float) -> None:
    """Before any capture the corrected prediction is the prediction, bit for bit, and nothing is written."""
    corrected = CorrectedPredictor(predictor, CorrectionStore("v1", tmp_path))
    assert corrected.predict([0.1, 0.2], crf, "libx264") == predictor([0.1, 0.2], crf, "libx264")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("predicted", "expected"), [(103.0, 100.0), (-4.0, 0.0)])
def test_the_result_is_a_score(tmp_path: Path, predicted: float, expected: float) -> None:
    """A predictor that overshoots is clipped to 0 to 100, cold or not."""
    overshooting: Callable[..., float] = lambda features, crf, codec: predicted  # noqa: E731, ARG005
    corrected = CorrectedPredictor(overshooting, CorrectionStore("v1", tmp_path))
    assert corrected.predict([0.1], 20, "libx264") == expected


def test_a_constant_bias_is_at_least_halved_after_40_captures(tmp_path: Path) -> None:
    """On encodes not learned from, the error after correction is at most half of the 5 points before it."""
    corrected = CorrectedPredictor(predictor, CorrectionStore("v1", tmp_path))
    captures = encodes(80)
    for capture in captures[:40]:
        truth = predictor(capture.features, capture.crf, "libx264") + 5.0
        corrected.record(capture.features, capture.crf, "libx264", min(truth, 100.0))
    errors = [
        min(predictor(c.features, c.crf, "libx264") + 5.0, 100.0) - corrected.predict(c.features, c.crf, "libx264")
        for c in captures[40:]
    ]
    assert rms(errors) <= 2.5


def test_the_state_round_trip_is_exact(tmp_path: Path) -> None:
    """What is read back writes the same bytes again and corrects to the same bit."""
    store = CorrectionStore("v1", tmp_path)
    with store.changing("libx264") as learned:
        for capture in encodes(600, noise=2.0):
            learned.record(capture)
    data = store.path("libx264").read_bytes()
    read = decode(data, "v1", store.settings)
    assert encode(read, "v1") == data
    for capture in encodes(20, seed=9):
        assert read.apply(capture) == learned.apply(capture)


def test_the_host_id_is_stable_and_differs_between_installs(tmp_path: Path) -> None:
    """The same directory gives the same id for ever, another directory another one; both are 128 bits of hex."""
    first, second = host_id(tmp_path / "a"), host_id(tmp_path / "b")
    assert host_id(tmp_path / "a") == first
    assert first != second
    assert len(bytes.fromhex(first)) == 16


def test_a_new_predictor_version_starts_cold_and_leaves_the_old_state(tmp_path: Path) -> None:
    """What was learned for one version is never added to another's predictions, and is there on the way back."""
    old, new = CorrectionStore("v1", tmp_path), CorrectionStore("v2", tmp_path)
    for capture in encodes(10):
        old.record("libx264", capture)
    before = old.path("libx264").read_bytes()
    assert new.load("libx264").apply(encodes(1)[0]).correction == 0.0
    new.record("libx264", encodes(1)[0])
    assert old.path("libx264").read_bytes() == before
    assert old.load("libx264").captures == 10
