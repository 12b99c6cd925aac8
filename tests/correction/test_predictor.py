"""A wrapped predictor beside others that record."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.correction import CorrectedPredictor, CorrectionError, CorrectionStore
from pipeline.correction.captures import Features
from tests.correction.encodes import encodes


def predictor(features: Features, crf: float, codec: str) -> float:
    """Predict the same score for everything."""
    del features, crf, codec
    return 80.0


def test_a_prediction_knows_what_another_process_has_recorded(tmp_path: Path) -> None:
    """The state is read again when it was replaced, first of all when it appears."""
    mine = CorrectedPredictor(predictor, CorrectionStore("v1", tmp_path))
    other = CorrectedPredictor(predictor, CorrectionStore("v1", tmp_path))
    seen = []
    for observed in (84.0, 84.0, 84.0):
        seen.append(mine.predict([1.0], 20.0, "libx264"))
        other.record([1.0], 20.0, "libx264", observed)
    seen.append(mine.predict([1.0], 20.0, "libx264"))
    assert seen == pytest.approx([80.0, 82.0, 80 + 4 * 2 / 3, 83.0])


def test_the_predictor_gets_the_features_as_they_were_given(tmp_path: Path) -> None:
    """An array stays an array and a mapping a mapping: what the predictor expects is between it and its caller."""
    given: list[object] = []

    def keep(features: Features, crf: float, codec: str) -> float:
        given.append(features)
        return predictor(features, crf, codec)

    corrected = CorrectedPredictor(keep, CorrectionStore("v1", tmp_path))
    array, mapping = np.array([1.0, 2.0], np.float32), {"fps": 24.0}
    corrected.predict(array, 20.0, "libx264")
    corrected.predict(mapping, 20.0, "libx265")
    assert given[0] is array
    assert given[1] is mapping


@pytest.mark.parametrize("predicted", [float("nan"), float("inf")])
def test_a_predictor_that_fails_to_predict_teaches_nothing(tmp_path: Path, predicted: float) -> None:
    """A prediction that is not a number is refused by name, cold or learned, and not recorded."""
    store = CorrectionStore("v1", tmp_path)
    corrected = CorrectedPredictor(lambda features, crf, codec: predicted, store)  # noqa: ARG005
    for _ in range(2):
        with pytest.raises(CorrectionError, match=r"^predicted is"):
            corrected.predict(encodes(1)[0].features, 20.0, "libx264")
        with pytest.raises(CorrectionError, match=r"^predicted is"):
            corrected.record(encodes(1)[0].features, 20.0, "libx264", 90.0)
        store.record("libx264", encodes(1)[0])
    assert store.load("libx264").captures == 2
