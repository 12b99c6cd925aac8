"""The check before the first step: the learner must predict what ONNX Runtime predicts with the same weights."""

from __future__ import annotations

import numpy as np

from pipeline.model.accuracy import parity_tolerance
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.model.score import scores
from pipeline.trainer.learner import Learner

_ROWS = 32


def check_parity(base: BaseModel, learner: Learner) -> None:
    """Compare both on rows in the range of real features and beyond it.

    Raises UnusableModel where they differ, Interrupted where they could not be compared.
    """
    rng = np.random.default_rng(0)
    spread = rng.choice([0.1, 1.0, 10.0], (_ROWS, 1))
    features = (rng.uniform(-0.2, 1, (_ROWS, base.n_features)) * spread).astype(np.float32)
    expected = scores(base.serialized, features, base.name)
    difference = float(np.abs(learner.predict(features, base.vector()) - expected).max())
    if not difference <= parity_tolerance(expected):
        raise UnusableModel(base.name, f"the trainer's scores differ from ONNX Runtime's by up to {difference:.3g}")
