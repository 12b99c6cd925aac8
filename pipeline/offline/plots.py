"""Pictures of an evaluation, as PNG bytes."""

import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from pipeline.corpus.table import Corpus
from pipeline.offline.candidate import Candidate
from pipeline.offline.scores import BANDS


def scatter(candidates: Sequence[Candidate], corpus: Corpus, target: str) -> bytes:
    """Draw predictions against scores, a panel for each candidate, darker where there are more frames."""
    figure = Figure(figsize=(3.6 * len(candidates), 3.6), layout="constrained")
    panels = figure.subplots(1, len(candidates), squeeze=False, sharex=True, sharey=True)[0]
    for panel, candidate in zip(panels, candidates, strict=True):
        panel.hexbin(
            corpus.target(target), candidate.predicted, gridsize=60, bins="log", cmap="Blues", extent=(0, 100, 0, 100)
        )
        panel.plot([0, 100], [0, 100], color="black", linewidth=0.6)
        panel.set(title=candidate.name, xlabel=target, xlim=(0, 100), ylim=(0, 100))
    panels[0].set_ylabel("predicted")
    return _png(figure)


def error_by_band(candidates: Sequence[Candidate], corpus: Corpus, target: str) -> bytes:
    """Draw the root mean squared error within each band of the score, a bar for each candidate."""
    score = corpus.target(target)
    band = np.clip(np.digitize(score, BANDS) - 1, 0, len(BANDS) - 2)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    panel = figure.subplots()
    width = 0.8 / len(candidates)
    for i, candidate in enumerate(candidates):
        squares = (candidate.predicted - score).astype(float) ** 2
        counts = np.bincount(band, minlength=len(BANDS) - 1)
        means = np.bincount(band, squares, len(BANDS) - 1) / np.maximum(counts, 1)
        panel.bar(np.arange(len(means)) + i * width, np.sqrt(means), width, label=candidate.name)
    names = [f"{low}-{high}" for low, high in pairwise(BANDS)]
    panel.set(
        xlabel=target, ylabel="RMSE", yscale="log", xticks=np.arange(len(names)) + 0.4 - width / 2, xticklabels=names
    )
    panel.legend()
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()
