"""Other libraries' incremental regressors, each fed chunks of rows in the form that it takes fastest."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Learned = tuple[float, Floats]
"""Processor seconds that learning took, and the predictions for the rows to judge by."""

_CHUNK = 32


def vowpal_wabbit(features: Floats, score: Floats, judged: Floats) -> Learned:
    """Learn each row, given as text, with the linear learner, at the best of several rates."""
    from vowpalwabbit import Workspace

    lines = [f"{y:.3f} | {_as_text(x)}" for x, y in zip(features, score.tolist(), strict=True)]
    questions = [f"| {_as_text(x)}" for x in judged]
    workspace = Workspace("--quiet -l 5")
    seconds = _timed(lambda: [workspace.learn(line) for line in lines])
    predicted = np.array([workspace.predict(line) for line in questions], np.float32)
    workspace.finish()
    return seconds, predicted


def _as_text(row: Floats) -> str:
    return " ".join(f"{i}:{value:.5g}" for i, value in enumerate(row.tolist()))


def river(features: Floats, score: Floats, judged: Floats) -> Learned:
    """Learn each row, given as a dict, with linear regression by Adam."""
    from river import linear_model, optim

    model = linear_model.LinearRegression(optimizer=optim.Adam(0.05), intercept_lr=0.1)
    rows = [dict(enumerate(row)) for row in features.tolist()]

    def learn() -> None:
        for row, y in zip(rows, score.tolist(), strict=True):
            model.learn_one(row, y)

    seconds = _timed(learn)
    predicted = [model.predict_one(dict(enumerate(row))) for row in judged.tolist()]
    return seconds, np.array(predicted, np.float32)


def sgd_regressor(features: Floats, score: Floats, judged: Floats) -> Learned:
    """Learn chunks with scikit-learn's linear SGD."""
    from sklearn.linear_model import SGDRegressor

    return _partial_fit(SGDRegressor(), features, score, judged)


def mlp_regressor(features: Floats, score: Floats, judged: Floats) -> Learned:
    """Learn chunks with scikit-learn's perceptron of one hidden layer of 64, by Adam."""
    from sklearn.neural_network import MLPRegressor

    return _partial_fit(MLPRegressor(hidden_layer_sizes=(64,), learning_rate_init=0.003), features, score, judged)


def _partial_fit(model: object, features: Floats, score: Floats, judged: Floats) -> Learned:
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(features), _CHUNK)]
    mean, scale = score[:1000].mean(), score[:1000].std()
    target = (score - mean) / scale
    seconds = _timed(lambda: [model.partial_fit(features[rows], target[rows]) for rows in chunks])  # type: ignore[attr-defined]
    predicted: Floats = model.predict(judged) * scale + mean  # type: ignore[attr-defined]
    return seconds, predicted


def _timed(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


ALTERNATIVES = {
    "vowpalwabbit": vowpal_wabbit,
    "river LinearRegression": river,
    "scikit-learn SGDRegressor": sgd_regressor,
    "scikit-learn MLPRegressor": mlp_regressor,
}
