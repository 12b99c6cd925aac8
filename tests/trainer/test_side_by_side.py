"""Learners side by side: which one counts, and that all go on as they were."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.trainer import side_by_side
from pipeline.trainer.learners import new_learner
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.side_by_side import SideBySide, mean_error
from tests.trainer.streams import Stream, base_model, corpus, names

STREAM, JUDGE = corpus().only("stream"), corpus().only("judge")
GROUPS = np.arange(512, dtype=np.uint64) % 8


def trained(recipe: Recipe, steps: int = 300) -> SideBySide:
    """Return learners of `recipe` after some steps on a shifted target."""
    learner = new_learner(base_model(), recipe)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        chosen = rng.integers(0, len(STREAM), 32)
        learner.calibrate(STREAM.features[chosen])
        learner.step(STREAM.features[chosen], STREAM.targets["vmaf_phone"][chosen])
    return learner


def choose(learner: SideBySide, target: str, groups: NDArray[np.uint64] = GROUPS) -> float:
    """Have it choose by 512 rows; return the prior of the learner that it chose."""
    rows = slice(0, len(STREAM), len(STREAM) // 512)
    learner.choose(STREAM.features[rows][:512], STREAM.targets[target][rows][:512], groups)
    return learner.prior


STRONG = Recipe(prior=1000.0, rival_priors=(0.0,))


def test_held_out_rows_choose() -> None:
    """The one without a prior follows a new target further; rows of the old one speak for the strong prior."""
    learner = trained(STRONG)
    held_back = learner.ema()
    assert learner.prior == 1000.0
    assert choose(learner, "vmaf_phone") == 0.0
    assert not np.allclose(learner.ema(), held_back)
    assert choose(learner, "vmaf") == 1000.0
    assert np.array_equal(learner.ema(), held_back)


def test_few_groups_choose_nothing() -> None:
    """Three groups may be alike by chance, and none say nothing."""
    learner = trained(STRONG)
    assert choose(learner, "vmaf_phone", GROUPS % 3) == 1000.0
    learner.choose(STREAM.features[:0], STREAM.targets["vmaf"][:0], GROUPS[:0])
    assert learner.prior == 1000.0


def test_learners_that_are_as_good_do_not_take_turns() -> None:
    """Where the rival is better by less than 2 %, the choice stays as it is."""
    learner = trained(Recipe(prior=1e-3, rival_priors=(0.0,)))
    assert choose(learner, "vmaf_phone") == choose(learner, "vmaf") == 1e-3


def test_one_that_is_not_finite_is_not_chosen() -> None:
    """Nor does it stay chosen, where the other is finite."""
    learner = trained(STRONG)
    first = learner.state()
    learner.restore(first | {"ema": np.full_like(first["ema"], np.nan)})
    assert choose(learner, "vmaf") == 0.0
    learner.restore(first | {"1_ema": np.full_like(first["ema"], np.nan)})
    assert choose(learner, "vmaf_phone") == 1000.0


def test_groups_count_alike() -> None:
    """A group of a thousand rows says as much as one of a single row; beyond 3 points the loss is linear."""
    error = np.array([2.0] * 1000 + [5.0], np.float32)
    group = np.array([1] * 1000 + [2], np.uint64)
    assert mean_error(error, group) == pytest.approx((2.0 + 10.5) / 2)
    assert mean_error(np.array([np.nan], np.float32), group[:1]) == np.inf


def spread(learner: SideBySide) -> float:
    """Return by how much its two learners differ, on average, on rows beyond those that they were trained on."""
    state, rng = learner.state(), np.random.default_rng(1)
    rows = STREAM.features[rng.integers(0, len(STREAM), (2, 512))]
    vectors = [state["origin"] + state["scale"] * state[name] for name in ("ema", "1_ema")]
    first, second = (learner.predict(2 * rows[0] - rows[1], each.astype(np.float32)) for each in vectors)
    return float(np.abs(first - second).mean())


def test_learners_agree_beyond_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rows to agree on they go apart there by more."""
    recipe = Recipe(prior=18.0, rival_priors=(0.0,))
    agreeing = spread(trained(recipe, 3000))
    monkeypatch.setattr(side_by_side, "_AGREE_EVERY", 1 << 40)
    assert agreeing < 0.7 * spread(trained(recipe, 3000))


def test_one_that_is_not_finite_does_not_stop_the_other() -> None:
    """Where their mean is not finite there is nothing to agree on, and the batch is learned from as it is."""
    learner = trained(STRONG)
    state = learner.state()
    learner.restore(state | {"1_ema": np.full_like(state["ema"], np.nan), "steps": np.array([1000.0])})
    assert learner.step(STREAM.features[:32], STREAM.targets["vmaf"][:32]).applied


def test_the_choice_is_saved() -> None:
    """Restored, the same learner counts, and the other goes on as well."""
    learner, other = trained(STRONG), new_learner(base_model(), STRONG)
    choose(learner, "vmaf_phone")
    other.restore(learner.state())
    assert other.prior == 0.0
    for each in (learner, other):
        each.step(STREAM.features[:32], STREAM.targets["vmaf"][:32])
    assert np.array_equal(learner.ema(), other.ema())
    assert choose(learner, "vmaf") == choose(other, "vmaf") == 1000.0
    assert np.array_equal(learner.ema(), other.ema())


def test_a_state_of_one_learner_is_that_of_all() -> None:
    """A state that was saved when there was one is gone on from by both."""
    alone, both = trained(Recipe(rival_priors=())), new_learner(base_model(), STRONG)
    state = {name: part for name, part in alone.state().items() if name != "chosen"}
    both.restore(state)
    assert np.array_equal(both.ema(), alone.ema())
    both.restore(state | {"chosen": np.ones(1)})
    assert np.array_equal(both.ema(), alone.ema())


def test_one_alone_goes_on_from_the_one_chosen() -> None:
    """Where there is one learner, as on a device, it takes over what was exported."""
    both, alone = trained(STRONG), new_learner(base_model(), Recipe(rival_priors=()))
    choose(both, "vmaf_phone")
    alone.restore(both.state())
    assert np.array_equal(alone.ema(), both.ema())
    assert alone.steps == both.steps


def test_a_reset_is_one_of_all() -> None:
    """All start over from the weights, and the first one counts again."""
    learner = trained(STRONG)
    choose(learner, "vmaf_phone")
    learner.reset(base_model().vector())
    assert learner.prior == 1000.0
    assert np.allclose(learner.ema(), base_model().vector(), atol=1e-5)
    choose(learner, "vmaf_phone")
    assert np.allclose(learner.ema(), base_model().vector(), atol=1e-5)


def test_training_chooses_as_rows_come() -> None:
    """Beside a prior that lets nothing be learned, the other is chosen and exported, and the report says so."""
    stream = Stream(STRONG)
    groups = [*names(5, held_out=True), *names(10, held_out=False)]
    stream.feed(STREAM, "vmaf_phone", 1500, groups=groups)
    assert stream.training.report()["prior"] == 0.0
    assert stream.rmse(JUDGE, "vmaf_phone") < 5
