"""The sidecar's training loop, to be timed: a batch from memory, a step, a snapshot twenty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from pipeline.model.graph import BaseModel
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.learner import Learner
from pipeline.trainer.memory import Memory
from pipeline.trainer.recipe import Recipe

_PUBLISH_EVERY_S = 0.05
_ROWS = 10_000


def our_loop(base: BaseModel, learner: Learner) -> Callable[[], object]:
    """Return the action that is one turn of the loop."""
    memory = full_memory(base.n_features)
    capacity = 64 * base.n_parameters + (1 << 16)
    mailbox = Mailbox(memoryview(bytearray(Mailbox.size(capacity))), capacity)
    published = time.monotonic()

    def step() -> None:
        nonlocal published
        batch = memory.batch()
        learner.step(batch.features, batch.score)
        if time.monotonic() - published > _PUBLISH_EVERY_S:
            mailbox.publish(learner.ema().tobytes(), *(part.tobytes() for part in learner.state().values()))
            published = time.monotonic()

    return step


def full_memory(n_features: int) -> Memory:
    """Return a full ring and a full reservoir."""
    rows = random_rows(_ROWS, n_features)
    ring, reservoir = Ring.private(_ROWS, n_features), Reservoir.private(_ROWS, n_features)
    reservoir.open_writer()
    ring.extend(rows)
    reservoir.restore(rows.words, 50, 1)
    memory = Memory(ring, reservoir, 32, Recipe().recent_share, seed=0)
    memory.remember(np.arange(_ROWS))
    return memory


def random_rows(count: int, n_features: int) -> RowBatch:
    """Return rows of 50 groups."""
    rng = np.random.default_rng(0)
    rows = RowBatch(count, n_features)
    rows.features[:] = rng.random((count, n_features), np.float32)
    rows.score[:] = 100 * rng.random(count, np.float32)
    rows.group[:] = np.arange(count) % 50 + 1
    return rows
