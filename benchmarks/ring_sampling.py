"""Sampling a batch of 32 rows from the ring, against cpprb and TorchRL's tensor storage.

Indices are drawn in each case by the library's own means; ours are those of the trainer.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.figures import Figure, at_least
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.draws import Draws

CAPACITY = 10_000
BATCH = 32
ROUNDS = 7
_SECONDS = 0.3

Sample = Callable[[], object]


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    ours, cpprb, torchrl = _ours(n_features), _cpprb(n_features), _torchrl(n_features)
    rates = [(_rate(ours), _rate(cpprb), _rate(torchrl)) for _ in range(ROUNDS)]
    setting = f"{n_features} features, batch {BATCH}"
    question = "ring: sample a batch"
    return [
        at_least(question, "cpprb", setting, tuple(own / other for own, other, _ in rates), 3),
        at_least(question, "TorchRL tensor storage", setting, tuple(own / other for own, _, other in rates), 20),
    ]


def _rate(sample: Sample) -> float:
    """Return batches a second."""
    count, until = 0, time.perf_counter() + _SECONDS
    while time.perf_counter() < until:
        for _ in range(100):
            sample()
        count += 100
    return count / _SECONDS


def _rows(n_features: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return rng.random((CAPACITY, n_features), np.float32), rng.random(CAPACITY, np.float32)


def _ours(n_features: int) -> Sample:
    features, score = _rows(n_features)
    ring = Ring.private(CAPACITY, n_features)
    for i in range(CAPACITY):
        ring.append(0.0, i, i, float(score[i]), features[i].tolist())
    draws, out = Draws(0), RowBatch(BATCH, n_features)

    def sample() -> object:
        oldest = ring.oldest
        return ring.take(oldest, draws.indices(BATCH, CAPACITY), out)

    return sample


def _cpprb(n_features: int) -> Sample:
    from cpprb import ReplayBuffer

    features, score = _rows(n_features)
    buffer = ReplayBuffer(CAPACITY, {"features": {"shape": n_features}, "score": {}})
    buffer.add(features=features, score=score)
    return lambda: buffer.sample(BATCH)


def _torchrl(n_features: int) -> Sample:
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

    torch.set_num_threads(1)
    features, score = _rows(n_features)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(CAPACITY), batch_size=BATCH)
    content = {"features": torch.from_numpy(features), "score": torch.from_numpy(score)}
    buffer.extend(TensorDict(content, batch_size=[CAPACITY]))
    return buffer.sample
