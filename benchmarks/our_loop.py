"""The sidecar's training loop, to be timed: a batch from memory, a step, a snapshot twenty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from pipeline.model.graph import BaseModel
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.trainer.learner import Learner
from pipeline.trainer.lesson import Lessons
from pipeline.trainer.memory import Memory
from pipeline.trainer.recipe import Recipe

if TYPE_CHECKING:
    from pipeline.trainer.device_learner import DeviceLearner

_PUBLISH_EVERY_S = 0.05
ROWS = 10_000


def our_loop(base: BaseModel, learner: Learner, batch_size: int = 32) -> Callable[[], object]:
    """Return the action that is one turn of the loop."""
    memory, _, _ = full_memory(base.n_features, batch_size)
    publish = _publishing(base, learner)

    def step() -> None:
        batch = memory.batch()
        learner.step(batch.features, batch.score)
        publish()

    return step


def lesson_loop(base: BaseModel, learner: DeviceLearner, recipe: Recipe) -> Callable[[], object]:
    """Return the action that puts `recipe.new_rows` new rows into memory and takes a step for each of them."""
    memory, ring, reservoir = full_memory(base.n_features, recipe.batch_size)
    lessons, coin = Lessons(memory, ring, reservoir), Random(0)
    fresh = random_rows(recipe.new_rows, base.n_features)
    publish = _publishing(base, learner)

    def turn() -> None:
        ring.extend(fresh)
        learner.learn(lessons.of(fresh, coin, len(fresh) - 1))
        publish()

    return turn


def _publishing(base: BaseModel, learner: Learner) -> Callable[[], None]:
    """Return what publishes the learner's weights if they were not for a while."""
    capacity = 256 * base.n_parameters + (1 << 16)
    mailbox = Mailbox(memoryview(bytearray(Mailbox.size(capacity))), capacity)
    published = time.monotonic()

    def publish() -> None:
        nonlocal published
        if time.monotonic() - published > _PUBLISH_EVERY_S:
            mailbox.publish(learner.ema().tobytes(), *(part.tobytes() for part in learner.state().values()))
            published = time.monotonic()

    return publish


def full_memory(n_features: int, batch_size: int = 32) -> tuple[Memory, Ring, Reservoir]:
    """Return a full ring and a full reservoir, and the memory over both."""
    rows = random_rows(ROWS, n_features)
    ring, reservoir = Ring.private(ROWS, n_features), Reservoir.private(ROWS, n_features)
    reservoir.open_writer()
    ring.extend(rows)
    reservoir.restore(rows.words, 50, 1)
    memory = Memory(ring, reservoir, batch_size, Recipe().recent_share, seed=0)
    memory.remember(np.arange(ROWS))
    return memory, ring, reservoir


def random_rows(count: int, n_features: int) -> RowBatch:
    """Return rows of 50 groups."""
    rng = np.random.default_rng(0)
    rows = RowBatch(count, n_features)
    rows.features[:] = rng.random((count, n_features), np.float32)
    rows.score[:] = 100 * rng.random(count, np.float32)
    rows.group[:] = np.arange(count) % 50 + 1
    return rows
