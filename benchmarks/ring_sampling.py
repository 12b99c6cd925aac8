"""Sampling a batch of 32 rows from the ring, against cpprb and TorchRL's tensor storage.

Indices are drawn in each case by the library's own means; ours are those of the trainer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, at_least, interleaved, not_measured
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.random_indices import RandomIndices

BOUND = (
    "one call of numpy that copies the rows, which takes a fifth of the time at most; the rest is Python around it: "
    "the draw of the indices, the oldest row, the check that nothing was overwritten meanwhile."
)
CAPACITY = 10_000
BATCH = 32
ROUNDS = 7
_SECONDS = 0.3

Sample = Callable[[], object]


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    question, setting = "ring: sample a batch", f"{n_features} features, batch {BATCH}"
    ours = _ours(n_features)
    figures = []
    for against, goal, alternative in (("cpprb", 3, _cpprb), ("TorchRL tensor storage", 20, _torchrl)):
        try:
            theirs = alternative(n_features)
        except ImportError as error:
            figures.append(not_measured(question, against, setting, f"not installed: {error}"))
            continue
        ratios = interleaved(ROUNDS, partial(_rate, ours), partial(_rate, theirs))
        figures.append(at_least(question, against, setting, ratios, goal))
    return figures


def _rate(sample: Sample) -> float:
    """Return batches a second of processor time."""
    count, began = 0, time.process_time()
    while time.process_time() - began < _SECONDS:
        for _ in range(100):
            sample()
        count += 100
    return count / (time.process_time() - began)


def _rows(n_features: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return rng.random((CAPACITY, n_features), np.float32), rng.random(CAPACITY, np.float32)


def _ours(n_features: int) -> Sample:
    features, score = _rows(n_features)
    ring, rows = Ring.private(CAPACITY, n_features), RowBatch(CAPACITY, n_features)
    rows.features[:], rows.score[:] = features, score
    ring.extend(rows)
    draws, out = RandomIndices(0), RowBatch(BATCH, n_features)
    return lambda: ring.take(ring.oldest, draws.indices(BATCH, CAPACITY), out)


def _cpprb(n_features: int) -> Sample:
    from cpprb import ReplayBuffer

    features, score = _rows(n_features)
    buffer = ReplayBuffer(CAPACITY, {"features": {"shape": n_features}, "score": {}})
    buffer.add(features=features, score=score)
    return lambda: buffer.sample(BATCH)


def _torchrl(n_features: int) -> Sample:
    import torch
    from tensordict import TensorDict
    from torchrl import torchrl_logger
    from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

    torch.set_num_threads(1)
    torchrl_logger.setLevel(logging.WARNING)
    features, score = _rows(n_features)
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(CAPACITY), batch_size=BATCH)
    content = {"features": torch.from_numpy(features), "score": torch.from_numpy(score)}
    buffer.extend(TensorDict(content, batch_size=[CAPACITY]))
    return lambda: buffer.sample()
