"""When the error's rise is an event, and when live weights are given up."""

import numpy as np
import pytest

from pipeline.trainer.drift import PageHinkley
from pipeline.trainer.rollback_policy import RollbackPolicy


def test_a_rise_is_detected_once() -> None:
    """A doubling of the error is found soon after it happens, and found once."""
    error = np.random.default_rng(0).gamma(2, 1, 3000)
    error[2000:] *= 3
    detector = PageHinkley()
    events = [index for index, value in enumerate(error) if detector.add(value)]
    assert len(events) == 1
    assert 2000 < events[0] < 2200


@pytest.mark.parametrize("quiet", [5000, 100_000])
def test_a_long_history_does_not_hide_a_rise(quiet: int) -> None:
    """After hours of a low error that began high, a rise is found as soon as after minutes."""
    error = np.random.default_rng(0).gamma(2, 1, quiet + 300)
    error[:100] *= 30
    error[quiet:] *= 2
    detector = PageHinkley()
    events = [index for index, value in enumerate(error) if detector.add(value)]
    assert len(events) == 1
    assert quiet < events[0] < quiet + 150


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_improvement_are_not_drift(seed: int) -> None:
    """Neither a steady error, however skewed, nor one that falls is an event."""
    error = np.random.default_rng(seed).gamma(1, 1, 5000)
    error[:2000] *= np.linspace(10, 1, 2000)
    detector = PageHinkley()
    assert not any(detector.add(value) for value in error)


def test_a_detector_goes_on_where_it_was() -> None:
    """Restored in the middle, it finds the rise at the same value."""
    error = np.random.default_rng(0).gamma(2, 1, 3000)
    error[2000:] *= 3
    one, other = PageHinkley(), PageHinkley()
    for value in error[:1990]:
        one.add(value)
    other.restore(one.state())
    assert [one.add(value) for value in error[1990:]] == [other.add(value) for value in error[1990:]]


def test_weights_that_are_not_finite_go_at_once() -> None:
    """There is nothing to wait for."""
    assert RollbackPolicy().should_roll_back(finite=False, live_rmse=np.nan, stable_rmse=np.nan)


def test_far_worse_weights_go_after_some_patience() -> None:
    """Three bad evaluations in a row are needed; a good one in between starts the count again."""
    health = RollbackPolicy(patience=3)
    answers = [health.should_roll_back(True, live, 2.0) for live in (9, 9, 2.1, 9, 9, 9, 9)]
    assert answers == [False, False, False, False, False, True, False]


def test_nothing_to_judge_by_changes_nothing() -> None:
    """Without held-out rows nobody is worse; with them, a live model without a finite error is."""
    health = RollbackPolicy(patience=2)
    assert not any(health.should_roll_back(True, np.nan, np.nan) for _ in range(5))
    assert [health.should_roll_back(True, np.inf, 1.0) for _ in range(2)] == [False, True]
