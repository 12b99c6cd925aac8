"""What may go wrong with a stream, and what then becomes of the model. Each returns figures by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.learning_streams import (
    EVERY,
    SEEDS,
    SYNTHETIC,
    Floats,
    Sidecar,
    Stream,
    base_model,
    frames,
    group_of,
    stream_of,
)
from pipeline.exporter.gate import GateSet, Predict, judge
from pipeline.exporter.gate_inputs import held_out
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.trainer.recipe import Recipe

Figures = dict[str, float]


def gated(target: str, seed: int) -> Figures:
    """Let the gate judge an export every thousand rows; compare what it lets through with the base model."""
    return _gated(stream_of(target, seed), seed, None)


def _gated(stream: Stream, seed: int, fixture: GateSet | None) -> Figures:
    """Stream to the end; `stable` is the RMSE of what a node runs at the end, `worst` the highest at any time.

    `passed` counts what became stable, `worse than base` how many of these were, on the judged rows.
    """
    sidecar = Sidecar(Recipe(), base_model(), seed)
    learner = sidecar.training.learner

    def predictor(vector: Floats) -> Predict:
        return lambda features: learner.predict(features, vector)

    base = stable = base_model().vector()
    passed, worse, errors = 0, 0, []
    error_of_base = stream.error(learner.predict(stream.judge_features, base))
    for block in stream.blocks(50):
        node = None if stream.node is None else stream.node[block]
        sidecar.learn(stream.features[block], stream.score[block], stream.group[block], node)
        if block.stop % EVERY:
            continue
        candidate = sidecar.training.export_vector()
        sets = [held_out(sidecar.holdout.snapshot())]
        sets += [] if fixture is None else [fixture]
        last = predictor(stable) if passed else None
        if judge(predictor(candidate), predictor(base), last, sets, 0.005).state == "stable":
            stable, passed = candidate, passed + 1
            worse += stream.error(learner.predict(stream.judge_features, stable)) > error_of_base
        errors.append(stream.error(learner.predict(stream.judge_features, stable)))
    return {
        "base": error_of_base,
        "live": stream.error(sidecar.predict(stream.judge_features)),
        "stable": errors[-1],
        "worst": max(errors),
        "passed": passed,
        "worse than base": worse,
    }


def poisoned(kind: str, target: str, seed: int) -> Figures:
    """Spoil the scores of a stream on purpose, never those that are judged by; see `spoil`."""
    stream = spoil(stream_of(target, seed), kind, seed)
    fixture = _fixture(target) if kind == "same wrong score" else None
    return _gated(stream, seed, fixture)


def spoil(stream: Stream, kind: str, seed: int) -> Stream:
    """Return the stream with wrong scores.

    "a tenth random": each score is replaced with probability 0.1; "one client of four": all scores of a quarter of the
    jobs are random; "same wrong score": a thousand rows in a row score 20.
    """
    rng = np.random.default_rng(seed + 1000)
    score = stream.score.copy()
    random = rng.uniform(0, 100, len(score)).astype(np.float32)
    if kind == "a tenth random":
        wrong = rng.random(len(score)) < 0.1
    elif kind == "one client of four":
        wrong = (np.array(stream.group, np.uint64) // np.uint64(8)) % np.uint64(4) == 0
    else:
        wrong = np.zeros(len(score), bool)
        wrong[len(score) - 1000 :] = True
        random[:] = 20
    return replace(stream, score=np.where(wrong, random, score))


def noise(kind: str, seed: int) -> Figures:
    """Send 8,000 rows from which nothing can be learned; whatever becomes stable is worse than the base model.

    "around the base model": its own predictions, each off by 10 points (standard deviation); "of nothing": uniform from
    0 to 100. The judged scores are the base model's predictions. With each seed the clips come in another order.
    """
    stream = stream_of("vmaf", seed % len(SEEDS))
    rng = np.random.default_rng(seed)
    group = np.array(stream.group, np.uint64)
    names, clip = np.unique(group, return_inverse=True)
    order = np.lexsort((np.arange(len(group)), rng.permutation(len(names))[clip]))[:8000]
    predict = OnnxModel(base_model().serialized).predict
    features = stream.features[order]
    off = rng.normal(0, 10, len(order))
    score = predict(features) + off if kind == "around the base model" else rng.uniform(0, 100, len(order))
    judged = predict(stream.judge_features)
    figures = _gated(
        Stream(features, score.astype(np.float32), group[order].tolist(), stream.judge_features, judged), seed, None
    )
    return {"streams": 1.0, "passed": figures["passed"], "worse than base": figures["worse than base"]}


def one_of_five(named: str, target: str, seed: int) -> Figures:
    """Have one node of five send 25 points too little, under 120 groups that it invents.

    The others name groups as they should, by content: fewer than those invented. "named": nodes send their `node_id`.
    """
    corpus, stream = frames(), stream_of(target, seed)
    source = {group_of(f"job-{clip}"): str(name) for clip, name in zip(corpus.clip, corpus.source, strict=True)}
    rng = np.random.default_rng(seed)
    node = [1 + group // 8 % 5 for group in stream.group]
    group = [
        group_of(f"invented-{rng.integers(120)}") if who == 1 else group_of(f"{source[clip]}, node {who}")
        for clip, who in zip(stream.group, node, strict=True)
    ]
    score = np.clip(stream.score - 25 * (np.array(node) == 1), 0, 100).astype(np.float32)
    attacked = replace(stream, score=score, group=group, node=node if named == "named" else None)
    return _gated(attacked, seed, None)


def _fixture(target: str) -> GateSet:
    """Return clean rows such as an operator would have measured: every hundredth frame of every source."""
    corpus = frames()
    rows = corpus.rows(np.arange(0, len(corpus), 100))
    group = np.array([group_of(name) for name in rows.source], np.uint64)
    return GateSet("fixture", rows.features, rows.target(target), group)


def burst(memory: str, seed: int) -> Figures:
    """Send 20,000 rows of all sources, then 20,000 of one; return the error on the judged rows before and after."""
    stream = stream_of("vmaf_phone", seed)
    recipe = Recipe(recent_share=1.0) if memory == "ring alone" else Recipe()
    sidecar = Sidecar(recipe, base_model(), seed)
    first = slice(0, 20_000)
    sidecar.learn(stream.features[first], stream.score[first], stream.group[first])
    before = stream.error(sidecar.predict(stream.judge_features))
    corpus = frames()
    one = np.flatnonzero(corpus.source == SYNTHETIC[seed])
    rows = corpus.rows(np.resize(one, 20_000))
    group = next(group for group in map(group_of, map(str, range(99))) if group % 8)
    sidecar.learn(rows.features, rows.target("vmaf_phone"), [group] * len(rows))
    return {"before": before, "after": stream.error(sidecar.predict(stream.judge_features))}


def changed(before: str, after: str, seed: int) -> Figures:
    """Send 20,000 rows with one target, then 20,000 with another; return the error on the other as these come."""
    first, second = stream_of(before, seed), stream_of(after, seed)
    sidecar = Sidecar(Recipe(), base_model(), seed)
    sidecar.learn(first.features[:20_000], first.score[:20_000], first.group[:20_000])
    figures = {"at the change": second.error(sidecar.predict(second.judge_features))}
    for thousand in (5, 10, 20):
        rows = slice(sidecar.sent, 20_000 + 1000 * thousand)
        sidecar.learn(second.features[rows], second.score[rows], second.group[rows])
        figures[f"after {thousand},000"] = second.error(sidecar.predict(second.judge_features))
    return figures


def from_scratch(kind: str, seed: int) -> Figures:
    """Learn a made-up target of 80 features from nothing; the error on new rows after 1,000, 5,000 and 10,000 rows."""
    rng = np.random.default_rng(seed)
    features, score = made_up(kind, rng)
    sidecar = Sidecar(Recipe.from_scratch(), BaseModel(two_layer(80, seed=seed), "untrained"), seed)
    group = [group_of(f"job-{row // 100}") for row in range(10_000)]
    figures: Figures = {"deviation": float(score[10_000:].std())}
    for start in range(0, 10_000, 16):
        block = slice(start, min(start + 16, 10_000))
        sidecar.learn(features[block], score[block], group[block])
        if block.stop in (1008, 5008, 10_000):
            error = sidecar.predict(features[10_000:]) - score[10_000:]
            figures[f"after {block.stop // 1000 * 1000}"] = float(np.sqrt(np.mean(error**2)))
    return figures


def made_up(kind: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return features float32[14000, 80] and a score of them.

    "uniform": independent features in 0..1, a linear score that is cut off at 0 and 100. "correlated": 20 hidden
    causes, seen with noise in features of all units and offsets; a score of two of their mixtures that bends both ways.
    """
    rows = 14_000
    if kind == "uniform":
        features = rng.random((rows, 80))
        score = 50 + 60 * (features - 0.5) @ rng.normal(size=80) / np.sqrt(80)
    else:
        causes = rng.normal(size=(rows, 20))
        features = 0.7 * causes @ rng.normal(size=(20, 80)) / np.sqrt(20) + 0.5 * rng.normal(size=(rows, 80))
        features = features * rng.uniform(0.1, 3, 80) + rng.uniform(-10, 10, 80)
        bend, turn = (causes @ rng.normal(size=(20, 2)) / np.sqrt(20)).T
        score = 60 + 18 * np.tanh(bend) + 8 * np.maximum(0, turn)
    return features.astype(np.float32), np.clip(score, 0, 100).astype(np.float32)
