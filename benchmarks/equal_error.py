"""Learning speed at equal error, against other libraries' incremental regressors.

All learn one pass over the same stream, without a base model, and are judged on rows from elsewhere. The figure is the
processor time that an alternative takes for the whole stream, divided by what the sidecar's training (default recipe,
replay and all) takes to get down to the error at which the alternative ends. At 6 features the stream is the shipped
corpus, at 80 a made-up one. The alternatives are given standardised features; ours finds its own scale.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.alternatives import ALTERNATIVES
from benchmarks.figures import Figure, at_least, not_measured
from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.model.accuracy import rmse
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe

BOUND = (
    "what a sample is worth: sixteen steps of the fast loop for sixteen new rows, all but one of them on replayed rows "
    "alone. Linear learners take less time for a row, and stop at an error that a perceptron passes early on."
)
ROUNDS = 7  # of perceptrons that begin at random, three say little
_CHUNK, _JUDGE_EVERY = 32, 256

Floats = NDArray[np.float32]


class Stream(NamedTuple):
    """Rows to learn in order, and rows to judge by."""

    features: Floats
    score: Floats
    group: NDArray[np.uint64]
    judged_features: Floats
    judged_score: Floats


class Round(NamedTuple):
    """Pairs of processor seconds and error along our pass; seconds and error of an alternative's whole pass."""

    ours: list[tuple[float, float]]
    seconds: float
    error: float


def figures() -> list[Figure]:
    """Measure on the corpus and on the made-up stream."""
    return [*_compare("80 features, made up", _made_up(80)), *_compare("6 features, corpus", _corpus())]


def _compare(setting: str, stream: Stream) -> list[Figure]:
    mean, scale = stream.features[:1000].mean(0), stream.features[:1000].std(0) + 1e-6
    learned, judged = (stream.features - mean) / scale, (stream.judged_features - mean) / scale
    rounds: dict[str, list[Round]] = {name: [] for name in ALTERNATIVES}
    missing: dict[str, str] = {}
    for seed in range(ROUNDS):
        curve = _our_curve(stream, seed)
        for name, alternative in ALTERNATIVES.items():
            try:
                seconds, predicted = alternative(learned, stream.score, judged)
            except ImportError as error:
                missing[name] = f"not installed: {error}"
                continue
            rounds[name].append(Round(curve, seconds, rmse(predicted, stream.judged_score)))
    return [_figure(name, setting, rounds[name], missing.get(name, "")) for name in ALTERNATIVES]


def _figure(name: str, setting: str, rounds: list[Round], missing: str) -> Figure:
    question = "learning to equal error"
    if missing:
        return not_measured(question, name, setting, missing)
    ratios = tuple(each.seconds / _seconds_to(each.error, each.ours) for each in rounds)
    error, ours = (float(np.median(errors)) for errors in zip(*[(e.error, e.ours[-1][1]) for e in rounds], strict=True))
    return at_least(question, name, setting, ratios, 1).with_note(f"RMSE {error:.2f}, ours in the end {ours:.2f}")


def _seconds_to(error: float, curve: list[tuple[float, float]]) -> float:
    """Return the time after which the error stays at or under `error`; infinity where it does not get there."""
    reached = float("inf")
    for seconds, ours in reversed(curve):
        if ours > error:
            break
        reached = seconds
    return reached


def _our_curve(stream: Stream, seed: int) -> list[tuple[float, float]]:
    """Return pairs of processor seconds spent and error, along the stream."""
    n_features = stream.features.shape[1]
    ring, base = Ring.private(10_000, n_features), BaseModel(two_layer(n_features, seed=seed), "fresh")
    reservoirs = Reservoir.private(10_000, n_features), Reservoir.private(4096, n_features)
    for reservoir in reservoirs:
        reservoir.open_writer()
    training = OnlineTraining(base, Recipe.from_scratch(), ring, *reservoirs, seed=seed)
    spent, curve = 0.0, []
    for start in range(0, len(stream.features), _CHUNK):
        rows = _rows(stream, slice(start, start + _CHUNK))
        began = time.process_time()
        ring.extend(rows)
        training.advance(len(rows))
        spent += time.process_time() - began
        if start % _JUDGE_EVERY == 0:
            predicted = training.learner.predict(stream.judged_features, training.export_vector())
            curve.append((spent, rmse(predicted, stream.judged_score)))
    return curve


def _rows(stream: Stream, chosen: slice) -> RowBatch:
    batch = RowBatch(len(stream.score[chosen]), stream.features.shape[1])
    batch.features[:], batch.score[:] = stream.features[chosen], stream.score[chosen]
    batch.group[:] = stream.group[chosen]
    return batch


def _corpus() -> Stream:
    """Return the shipped corpus, clips in random order, three of its sources to judge by."""
    corpus = load_corpus(data.CORPUS)
    rng = np.random.default_rng(0)
    sources = np.unique(corpus.source)
    judged = np.isin(corpus.source, rng.choice(sources, 3, replace=False))
    clips = np.unique(corpus.clip[~judged])
    place = dict(zip(clips.tolist(), rng.permutation(len(clips)).tolist(), strict=True))
    learned = np.flatnonzero(~judged)
    learned = learned[np.argsort([place[clip] for clip in corpus.clip[learned].tolist()], kind="stable")]
    group = np.searchsorted(clips, corpus.clip[learned]).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    score = corpus.target("vmaf_phone")
    return Stream(corpus.features[learned], score[learned], group, corpus.features[judged], score[judged])


def _made_up(n_features: int, count: int = 20_000, judged: int = 4000) -> Stream:
    """Return rows of a smooth nonlinear function of correlated features, with noise."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(8, n_features)) / np.sqrt(8)
    causes = rng.normal(size=(count + judged, 8))
    features = (causes @ mixing + 0.3 * rng.normal(size=(count + judged, n_features))).astype(np.float32)
    hidden = np.tanh(causes @ rng.normal(size=(8, 6)) / np.sqrt(8))
    score = (50 + 12 * hidden @ rng.normal(size=6) + rng.normal(size=count + judged)).clip(0, 100).astype(np.float32)
    group = (np.arange(count) // 32 * 2 + 1).astype(np.uint64)
    return Stream(features[:count], score[:count], group, features[count:], score[count:])
