"""Encodes to learn from: a few raw-scaled features, a CRF, a predicted and an observed score."""

import numpy as np

from pipeline.correction.captures import Observation


def encodes(n: int, bias: float = 5.0, noise: float = 0.0, seed: int = 0) -> list[Observation]:
    """Make n captures whose observed score is the predicted one plus a bias and some noise."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        crf = float(rng.integers(18, 45))
        predicted = float(np.clip(110 - crf + rng.normal(), 0, 90))
        features = {"bitrate": float(rng.uniform(200, 9000)), "i_bytes": float(rng.uniform(1e4, 4e5)), "fps": 24.0}
        made.append(Observation(features, crf, predicted, predicted + bias + noise * float(rng.normal())))
    return made
