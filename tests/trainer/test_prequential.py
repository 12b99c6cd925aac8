"""Figures over the newest samples."""

import math

import numpy as np
import pytest

from pipeline.trainer.prequential import Prequential


def test_only_the_newest_samples_count() -> None:
    """What is older than the window is forgotten."""
    window = Prequential(("ema",), 100)
    score = np.linspace(0, 100, 250, dtype=np.float32)
    for start in range(0, 250, 10):
        part = score[start : start + 10]
        window.add(part, {"ema": part + (50 if start < 150 else 2)})
    figures = window.figures()["ema"]
    assert figures["rmse"] == pytest.approx(2, rel=1e-4)
    assert figures["plcc"] == pytest.approx(1)
    assert figures["srocc"] == pytest.approx(1)


def test_each_model_is_judged_on_what_it_predicted() -> None:
    """A model that came later is judged on the samples since; one that never came has no figures."""
    window = Prequential(("ema", "stable", "never"), 100)
    score = np.arange(20, dtype=np.float32)
    window.add(score, {"ema": score + 1})
    window.add(score, {"ema": score + 1, "stable": score + 3})
    figures = window.figures()
    assert figures["ema"]["rmse"] == pytest.approx(1)
    assert figures["stable"]["rmse"] == pytest.approx(3)
    assert math.isnan(figures["never"]["rmse"])
