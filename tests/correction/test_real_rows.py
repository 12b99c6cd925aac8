"""Real encodes, a real predictor, and a truth that it was not trained for."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.correction import CorrectedPredictor, CorrectionStore, Settings
from pipeline.correction.captures import Features
from pipeline.model.accuracy import rmse
from pipeline.model.runtime import OnnxModel

CODECS = ("libx264", "libx265", "libsvtav1")


class Clips(NamedTuple):
    """One row an encode: mean features float64[n, 6] and mean score float64[n]."""

    features: NDArray[np.float64]
    score: NDArray[np.float64]


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Load the frames that ship with the package."""
    return load_corpus(data.CORPUS)


@pytest.fixture(scope="module")
def base_model() -> OnnxModel:
    """Load the base model that ships with the package; it was trained on other sources, and on the score `vmaf`."""
    return OnnxModel(data.BASE_MODEL)


def clips(corpus: Corpus, part: str, codec: str, target: str) -> Clips:
    """Average the frames of each clip."""
    rows = corpus.rows((corpus.part == part) & (corpus.codec == codec))
    _, index = np.unique(rows.clip, return_inverse=True)
    count = np.bincount(index)
    features = [np.bincount(index, column) / count for column in rows.features.T]
    return Clips(np.column_stack(features), np.bincount(index, rows.target(target)) / count)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", ["vmaf_neg", "vmaf_phone"])
def test_the_error_on_unseen_sources_falls(
    tmp_path: Path, corpus: Corpus, base_model: OnnxModel, codec: str, target: str
) -> None:
    """What encodes of nine sources taught makes the prediction better on four other sources, for every codec."""

    def predict(features: Features, crf: float, codec: str) -> float:
        del crf, codec
        return float(base_model.predict(np.array([features], np.float32))[0])

    corrected = CorrectedPredictor(predict, CorrectionStore("shipped", tmp_path))
    stream, judge = clips(corpus, "stream", codec, target), clips(corpus, "judge", codec, target)
    for features, score in zip(stream.features, stream.score, strict=True):
        corrected.record(features, 0.0, codec, float(score))
    before = rmse([predict(features, 0.0, codec) for features in judge.features], judge.score)
    after = rmse([corrected.predict(features, 0.0, codec) for features in judge.features], judge.score)
    assert after < 0.9 * before
    if target == "vmaf_phone":
        assert after < 0.4 * before


def test_a_correction_by_settings_of_its_own(tmp_path: Path) -> None:
    """Settings of the library reach the fit: without forgetting the mean residual, with it the newest one."""
    for settings, low, high in ((Settings(), 2.4, 2.6), (Settings(forgetting=0.5), 0.0, 0.1)):
        store = CorrectionStore("v1", tmp_path / str(settings.forgetting), settings)
        corrected = CorrectedPredictor(lambda features, crf, codec: 50.0, store)  # noqa: ARG005
        for i in range(40):
            corrected.record([1.0], 20.0, "libx264", 55.0 if i < 20 else 50.0)
        assert low < corrected.predict([1.0], 20.0, "libx264") - 50.0 < high
