"""What can be had of the same rows offline: all at once, as often as one likes; judged as the streams are.

Both learn what the base model leaves over, on standardised features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.learning_residual import Residual
from benchmarks.learning_streams import stream_of


def _network(seed: int) -> Any:
    from sklearn.neural_network import MLPRegressor

    return MLPRegressor(hidden_layer_sizes=(16, 8), max_iter=30, batch_size=64, random_state=seed)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(50, min_samples_leaf=20, max_samples=0.2, random_state=seed)


OFFLINE: dict[str, Callable[[int], Any]] = {
    "network of the base model's size, 30 epochs": _network,
    "forest of 50 trees": _forest,
}
"""scikit-learn's regressors, by name; made with a seed."""


def offline(method: str, target: str, seed: int) -> float:
    """Return the RMSE on the judged rows after learning all others."""
    stream, residual = stream_of(target, seed), Residual()
    model = OFFLINE[method](seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 30 epochs may not be enough
        model.fit(residual.standard(stream.features), (stream.score - residual.base(stream.features)) / 10)
    correction = 10 * model.predict(residual.standard(stream.judge_features))
    return stream.error(residual.base(stream.judge_features) + correction)
