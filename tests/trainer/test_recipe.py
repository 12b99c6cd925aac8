"""The recipe and the settings that change it."""

from dataclasses import replace

import pytest

from pipeline import config
from pipeline.trainer.recipe import Recipe


def test_the_default_settings_mean_the_recipes_own_values() -> None:
    """An operator who sets nothing gets the recipe as it was measured."""
    assert Recipe.from_settings(config.load({"VMAFX_BASE_MODEL_PATH": "/models/base.onnx"})) == Recipe()


def test_nothing_holds_an_untrained_network_back() -> None:
    """Without a base model there is no prior; all else is the same."""
    assert Recipe.from_settings(config.load({})) == replace(Recipe(), prior=0.0, rival_priors=())


def test_settings_keep_their_meaning() -> None:
    """Each variable changes its own number; the learning rate scales the step size in proportion."""
    environ = {
        "VMAFX_SIDECAR_LR": "0.0002",
        "VMAFX_SIDECAR_EMA_DECAY": "0.99",
        "VMAFX_SIDECAR_BATCH_SIZE": "64",
        "VMAFX_SIDECAR_REPLAY_MIX": "0.75",
    }
    recipe = Recipe.from_settings(config.load(environ))
    assert recipe.step_size == pytest.approx(2 * Recipe().step_size)
    assert (recipe.ema_decay, recipe.batch_size, recipe.new_rows) == (0.99, 64, 16)


def test_the_literal_recipe() -> None:
    """`adr-0781` is SGD at exactly the given rate, one step for 32 new samples, with a fixed EMA decay."""
    literal = Recipe.from_settings(config.load({"VMAFX_SIDECAR_RECIPE": "adr-0781", "VMAFX_SIDECAR_LR": "0.0003"}))
    assert literal.step_size == pytest.approx(3e-4)
    assert (literal.optimizer, literal.momentum, literal.weight_decay) == ("sgd", 0.9, 1e-5)
    assert (literal.max_norm, literal.warmup_steps, literal.new_rows, literal.replay_steps(32)) == (1.0, 100, 32, 0)
    assert literal.ema_decay_at(1) == literal.ema_decay_at(10_000) == 0.999
    assert literal.weight_decay_at(1) == 1e-5


def test_schedules() -> None:
    """The step size rises over the warm-up and stays; the EMA's decay rises to its ceiling; the prior fades."""
    recipe = Recipe(step_size=1.0, warmup_steps=100, ema_decay=0.99, prior=10.0, weight_decay=1e-5)
    assert [recipe.step_size_at(step) for step in (1, 50, 100, 10_000)] == [0.01, 0.5, 1.0, 1.0]
    decays = [recipe.ema_decay_at(step) for step in (1, 10, 100, 10_000)]
    assert decays == sorted(decays)
    assert decays[0] == pytest.approx(2 / 11)
    assert decays[-1] == 0.99
    assert [recipe.weight_decay_at(step) for step in (1, 1000, 10_000_000)] == [10.0, 0.01, 1e-5]


@pytest.mark.parametrize(("new", "further"), [(0, 0), (1, 0), (16, 15), (3, 2)])
def test_replay_follows_the_number_of_new_rows(new: int, further: int) -> None:
    """With a ratio of one there is a step for each new row, the first of which trains on all of them."""
    assert Recipe(replay_ratio=1.0).replay_steps(new) == further


def test_adam_is_there_for_those_who_ask() -> None:
    """VMAFX_SIDECAR_OPTIMIZER=adam takes Adam, with a step size of its own."""
    recipe = Recipe.from_settings(config.load({"VMAFX_SIDECAR_OPTIMIZER": "adam"}))
    assert recipe.optimizer == "adam"
    assert recipe.step_size != Recipe().step_size
