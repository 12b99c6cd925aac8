"""Training beside rows that a device holds: the same steps on the same rows, and nothing that waits in a step."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.shm.rows import RowBatch
from pipeline.trainer.device_learner import STEPS_IN_A_BLOCK, Batch, DeviceLearner, ResidentRows
from pipeline.trainer.fallback_learner import FallbackLearner
from pipeline.trainer.learner import StepResult
from pipeline.trainer.lesson import Lesson, Lessons
from pipeline.trainer.memory import Memory
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.torch_learner import TorchLearner
from tests.trainer.looks import looks_of
from tests.trainer.streams import base_model, corpus, names, private_reservoir, private_ring, put
from tests.trainer.test_learners import ADAM, SGD, batches

# The processor, by a name that is not the one which means the way without resident rows.
DEVICE = "cpu:0"
STREAM = corpus().only("stream")


def training(device: str, base: BaseModel, *, ring_rows: int = 4096, kept: int = 4096) -> OnlineTraining:
    """Return a training on empty memory of some size."""
    ring = private_ring(base.n_features, ring_rows)
    reservoirs = private_reservoir(base.n_features, kept), private_reservoir(base.n_features, 512)
    return OnlineTraining(base, Recipe(rival_priors=()), ring, *reservoirs, seed=1, device=device)


def feed(one: OnlineTraining, rows: int, first: int = 0, chunk: int = 16) -> None:
    """Put rows of the corpus into the ring, a chunk at a time, and train on each."""
    for row in range(first, first + rows, chunk):
        part = slice(row, row + chunk)
        put(one._ring, STREAM.features[part], STREAM.targets["vmaf_phone"][part], list(STREAM.source[part]))
        one.advance(chunk)


def learn_alike(host: OnlineTraining, device: OnlineTraining) -> None:
    """Train both on the same rows; each observation has to end at the same model, to a point."""
    judged = STREAM.features[2000:2200]
    for first in range(0, 1600, 16):
        for one in (host, device):
            feed(one, 16, first)
        ours, theirs = (one.learner.predict(judged, one.learner.weights()) for one in (device, host))
        assert np.abs(ours - theirs).max() < 1
        # From the same state again: rounding tells which side of a ReLU a unit is on, and training amplifies that.
        device.learner.restore(host.learner.state())


def seen(one: OnlineTraining, monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float32]]:
    """Record the score of every row of every batch that `one` takes a step on from now on."""
    scores: list[NDArray[np.float32]] = []
    inner = one.learner.chosen._inner
    if isinstance(inner, FallbackLearner):
        learner = inner._learner
        assert isinstance(learner, DeviceLearner)
        step_through = learner.step_through

        def record(batches: list[Batch]) -> list[StepResult]:
            scores.extend(score.numpy().copy() for _, score in batches)
            return step_through(batches)

        monkeypatch.setattr(learner, "step_through", record)
    else:
        step = one._step

        def record_batch(batch: RowBatch) -> None:
            scores.append(batch.score.copy())
            step(batch)

        monkeypatch.setattr(one, "_step", record_batch)
    return scores


@pytest.mark.parametrize(("ring_rows", "kept"), [(4096, 4096), (64, 50)], ids=["all kept", "ring and reservoir full"])
def test_the_device_sees_the_rows_that_the_processor_sees(
    ring_rows: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step's batch is the same on the device as without one, row by row, also once rows were overwritten."""
    host, device = (training(where, base_model(), ring_rows=ring_rows, kept=kept) for where in ("cpu", DEVICE))
    expected, found = seen(host, monkeypatch), seen(device, monkeypatch)
    for one in (host, device):
        feed(one, 2400)
        feed(one, 37, 2400, chunk=5)
    assert len(found) == len(expected) > 1000
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("base", [base_model(), BaseModel(two_layer(6), "fresh")], ids=["shipped", "fresh"])
def test_the_device_learns_what_the_processor_learns(base: BaseModel) -> None:
    """Each observation ends at the same model, to a point, with and without standardisation inside the graph."""
    host, device = training("cpu", base), training(DEVICE, base)
    learn_alike(host, device)
    assert device.learner.device == DEVICE
    assert device.learner.kind == "TorchLearner"
    assert device.total_steps == host.total_steps > 500


def test_a_restored_training_brings_its_rows_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that goes on after a restart replays the rows that ring and reservoir still hold."""
    host, device = training("cpu", base_model(), ring_rows=64), training(DEVICE, base_model(), ring_rows=64)
    expected, found = seen(host, monkeypatch), seen(device, monkeypatch)
    for one, scores in ((host, expected), (device, found)):
        feed(one, 400)
        memory = one._ring, one._reservoir, one._holdout.reservoir
        fresh = OnlineTraining(base_model(), Recipe(rival_priors=()), *memory, seed=1, device=one.learner.device)
        fresh.restore(*one.state())
        scores.clear()
        scores_of_fresh = seen(fresh, monkeypatch)
        feed(fresh, 300, 400)
        scores += scores_of_fresh
    assert len(found) == len(expected) > 50
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def on_device(features: NDArray[np.float32], score: NDArray[np.float32]) -> Batch:
    """Return a batch as tensors."""
    return torch.from_numpy(features), torch.from_numpy(score)


@pytest.mark.parametrize("recipe", [SGD, ADAM, Recipe.adr_0781()], ids=["sgd", "adam", "adr-0781"])
def test_a_block_of_steps_is_steps_one_by_one(recipe: Recipe) -> None:
    """Steps that are looked at together end where steps that are looked at singly end, with the same figures."""
    one, other = TorchLearner(base_model(), recipe), TorchLearner(base_model(), recipe)
    for _ in range(4):
        ours = one.step_through([on_device(*batch) for batch in batches(6)])
        theirs = [other.step(*batch) for batch in batches(6)]
        assert [result.applied for result in ours] == [True] * 8
        assert np.allclose([result[:2] for result in ours], [result[:2] for result in theirs], rtol=1e-4)
    assert one.steps == other.steps == 32
    assert np.allclose(one.weights(), other.weights(), rtol=1e-4, atol=1e-5)
    assert np.allclose(one.ema(), other.ema(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_in_a_block_only_the_steps_that_are_not_finite_are_undone(recipe: Recipe, bad: float) -> None:
    """A bad batch among good ones costs its own step and no other, bit by bit as if all were looked at singly."""
    one, other = TorchLearner(base_model(), recipe), TorchLearner(base_model(), recipe)
    block = [(features.copy(), score) for features, score in batches(6)]
    block[3][0][5, 2] = bad
    ours = one.step_through([on_device(*batch) for batch in block])
    theirs = [other.step(*batch) for batch in block]
    assert [result.applied for result in ours] == [number != 3 for number in range(8)]
    assert [result.applied for result in theirs] == [number != 3 for number in range(8)]
    assert one.steps == 7
    states = one.state(), other.state()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def lessons(recipe: Recipe) -> Callable[[], Lesson]:
    """Return what gives a lesson on 16 new rows, 15 further steps each, from full memory."""
    ring, reservoir = private_ring(6, 256), private_reservoir(6, 256)
    put(ring, STREAM.features[:300], STREAM.targets["vmaf"][:300], names(4, held_out=False))
    memory = Memory(ring, reservoir, recipe.batch_size, recipe.recent_share, seed=0)
    maker = Lessons(memory, ring, reservoir)
    cursor = ring.oldest

    def lesson() -> Lesson:
        nonlocal cursor
        rows = RowBatch(16, 6)
        assert ring.read(cursor, rows) == 16
        cursor += 16
        return maker.of(rows, random.Random(0), 15)

    return lesson


@pytest.mark.parametrize("recipe", [SGD, ADAM, Recipe.adr_0781()], ids=["sgd", "adam", "adr-0781"])
@pytest.mark.parametrize("centred", [False, True], ids=["as it comes", "centred"])
def test_no_step_waits_for_the_device(recipe: Recipe, centred: bool) -> None:
    """On a device without numbers a whole lesson runs: nothing is read, and it takes two transfers, three to centre."""
    learner = DeviceLearner(base_model(), recipe, "meta", 2048)
    next_lesson = lessons(recipe)
    for _ in range(3):
        lesson = next_lesson()
        if centred:
            lesson = lesson.centred(np.ones(6, np.float32))

        def steps(lesson: Lesson = lesson) -> None:
            (block,) = learner._rows.blocks(lesson)
            assert learner._run(block).shape == (16, 2)

        looks = looks_of(steps)
        assert len(looks.uploads) == (3 if centred else 2)
        assert looks.blocking_uploads == 0
        assert looks.operators > 16 * 20
    # What is new is sixteen rows, by now; and the numbers of the rows that sixteen steps see.
    assert looks.uploads[0] == 16 * 7 * 4
    assert looks.uploads[1] <= (3 * 16 + 16 * recipe.batch_size) * 8


@pytest.mark.parametrize("recipe", [SGD, Recipe.adr_0781()], ids=["sgd", "adr-0781"])
def test_a_block_is_looked_at_once(recipe: Recipe) -> None:
    """The same steps on real numbers read none of them."""
    learner = TorchLearner(base_model(), recipe)
    block = [on_device(*batch) for batch in batches(6)]
    assert looks_of(lambda: learner._run(block), "cpu").operators > 100
    with pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        looks_of(lambda: learner.step(*batches(6)[0]), "cpu")


def test_a_long_lesson_comes_in_blocks() -> None:
    """However many steps follow an observation, only some lie ready at a time, and all rows are right."""
    rows = ResidentRows(300, 2, torch.device("cpu"))
    content = np.arange(900, dtype=np.float32).reshape(300, 3)
    further = np.random.default_rng(0).integers(0, 300, (150, 4))
    none = np.zeros(0, np.int64)
    lesson = Lesson(content, np.arange(300), np.array([7, 8]), none, none, further)
    blocks = list(rows.blocks(lesson))
    assert [len(block) for block in blocks] == [1 + STEPS_IN_A_BLOCK, STEPS_IN_A_BLOCK, 150 - 2 * STEPS_IN_A_BLOCK]
    batches = [batch for block in blocks for batch in block]
    for places, (features, score) in zip([lesson.first, *further], batches, strict=True):
        assert np.array_equal(features.numpy(), content[places, 1:])
        assert np.array_equal(score.numpy(), content[places, 0])
    alone = replace(lesson, further=np.zeros((0, 0), np.int64))
    assert [len(block) for block in rows.blocks(alone)] == [1]
