"""What an evaluation found: figures of agreement over all rows and within groups of them, with intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import FIGURES, agreement
from pipeline.offline.evaluated_model import EvaluatedModel

BANDS = (0, 20, 40, 60, 80, 100)
OWNERS = {"height": "height", "node": "node_id", "tenant": "tenant_id"}
"""Kinds of groups that only some corpora tell apart, and the column of each."""

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Figure:
    """One figure of agreement and the 95 % interval of it; NaN where it does not exist."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class GroupResult:
    """Agreement within one group of rows."""

    kind: str
    name: str
    rows: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Report:
    """Everything found of one model."""

    model: str
    target: str
    groups: list[GroupResult]
    latency_us_p50: float
    latency_us_p95: float
    bytes: int

    @property
    def overall(self) -> GroupResult:
        """The group of all rows."""
        return self.groups[0]

    def over_sources(self, figure: str) -> tuple[float, float]:
        """Return mean and standard deviation of a figure over the sources."""
        values = [group.figures[figure].value for group in self.groups if group.kind == "source"]
        return float(np.mean(values)), float(np.std(values))


def judge(model: EvaluatedModel, corpus: Corpus, target: str, resamples: int) -> Report:
    """Compare a model's predictions with the scores."""
    groups = by_group(model.predicted, corpus, target, resamples)
    return Report(model.name, target, groups, model.latency_p50, model.latency_p95, model.size)


def by_group(predicted: Scores, corpus: Corpus, target: str, resamples: int, seed: int = 0) -> list[GroupResult]:
    """Return the agreement overall and per source, codec, owner and score band, with bootstrap intervals.

    Owners are those of `OWNERS` that the corpus has columns of; rows without one are in no group of that kind.
    """
    score = corpus.target(target)
    return [
        GroupResult(kind, name, int(rows.sum()), _with_intervals(predicted, score, corpus.clip, rows, resamples, seed))
        for kind, name, rows in _groups(corpus, score)
    ]


def _groups(corpus: Corpus, score: Scores) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    yield "overall", "all", np.ones(len(corpus), bool)
    for kind, labels in (("source", corpus.source), ("codec", corpus.codec)):
        for name in np.unique(labels).tolist():
            yield kind, name, labels == name
    for kind, column in OWNERS.items():
        whose = corpus.details.get(column)
        for owner in [] if whose is None else np.unique(whose).tolist():
            if owner and owner == owner:  # neither an empty name nor NaN
                yield kind, f"{owner:g}" if kind == "height" else owner, whose == owner
    for low, high in pairwise(BANDS):
        rows = (score >= low) & ((score < high) | (high == BANDS[-1]))
        if rows.any():
            yield "band", f"{low}-{high}", rows


def _with_intervals(
    predicted: Scores,
    score: Scores,
    clip: npt.NDArray[np.int64],
    rows: npt.NDArray[np.bool_],
    resamples: int,
    seed: int,
) -> dict[str, Figure]:
    predicted, score = predicted[rows], score[rows]
    order = np.argsort(clip[rows], kind="stable")
    clips = np.split(order, np.flatnonzero(np.diff(clip[rows][order])) + 1)
    random = np.random.default_rng(seed)
    values = agreement(predicted, score, FIGURES)
    drawn = (_redraw(clips, random) for _ in range(resamples if len(clips) > 1 else 0))  # one clip tells no spread
    samples = [agreement(predicted[index], score[index], FIGURES) for index in drawn]
    return {name: _figure(value, np.array([sample[name] for sample in samples])) for name, value in values.items()}


def _redraw(clips: list[npt.NDArray[np.intp]], random: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw as many clips as there are, with repeats: frames of one clip are alike and stay together."""
    return np.concatenate([clips[i] for i in random.integers(len(clips), size=len(clips))])


def _figure(value: float, samples: npt.NDArray[np.float64]) -> Figure:
    found = samples[np.isfinite(samples)]
    low, high = np.quantile(found, [0.025, 0.975]) if found.size else (np.nan, np.nan)
    return Figure(value, float(low), float(high))
