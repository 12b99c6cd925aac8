"""Each source left out alone: on which content the model is still off after it has learned from all others."""

from __future__ import annotations

import numpy as np

from benchmarks.learning_streams import SEEDS, Sidecar, base_model, stream_without
from pipeline.trainer.recipe import Recipe


def left_out(source: str, target: str) -> tuple[float, float]:
    """Return the RMSE on `source` of the base model, and after a single pass over all other sources.

    Means over the seeds, which order the stream and draw the batches and the judged rows.
    """
    before, after = [], []
    for seed in SEEDS:
        stream = stream_without([source], target, seed)
        sidecar = Sidecar(Recipe(), base_model(), seed)
        before.append(stream.error(sidecar.predict(stream.judge_features)))
        sidecar.learn(stream.features, stream.score, stream.group)
        after.append(stream.error(sidecar.predict(stream.judge_features)))
    return float(np.mean(before)), float(np.mean(after))
