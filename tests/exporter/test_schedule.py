"""When checkpoints are due: both conditions, over restarts, stepped clocks and lost shared memory."""

import time
from datetime import UTC, datetime

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.exporter.schedule import Schedule
from pipeline.runtime.disk_jobs import BackOff
from tests.support.clock import Clock


def checkpoint(version: int, samples: int, age_s: float) -> Checkpoint:
    """Make a sidecar that is `age_s` old by the wall clock."""
    created = datetime.fromtimestamp(time.time() - age_s, UTC).isoformat()
    return Checkpoint(
        version=version,
        sha256="",
        created=created,
        step=0,
        samples=samples,
        base_model="",
        base_sha256="",
        state="unproven",
        reason="",
    )


def test_both_conditions_have_to_hold() -> None:
    """Time alone is not enough, nor are samples alone."""
    clock = Clock()
    schedule = Schedule(interval_s=600, min_samples=1000, clock=clock)
    clock.now += 599
    assert schedule.due_in(5000) > 0
    clock.now += 2
    assert schedule.due_in(999) > 0
    assert schedule.due_in(1000) <= 0


def test_the_age_of_the_last_checkpoint_counts() -> None:
    """A process that starts 590 s after it waits ten seconds more, and counts samples from it."""
    clock = Clock()
    schedule = Schedule(interval_s=600, min_samples=1000, clock=clock)
    schedule.follow(checkpoint(7, samples=4000, age_s=590))
    assert schedule.due_in(9000) > 0
    clock.now += 11
    assert schedule.due_in(4999) > 0
    assert schedule.due_in(5000) <= 0


def test_a_clock_that_was_stepped_back_does_not_block() -> None:
    """A checkpoint from the future counts as made just now."""
    clock = Clock()
    schedule = Schedule(interval_s=600, min_samples=0, clock=clock)
    schedule.follow(checkpoint(7, samples=0, age_s=-1e6))
    assert schedule.due_in(0) > 0
    clock.now += 601
    assert schedule.due_in(0) <= 0


def test_a_stepped_clock_does_not_hurry() -> None:
    """Seeing the same checkpoint again does not look at the wall clock again."""
    schedule = Schedule(interval_s=600, min_samples=0)
    schedule.follow(checkpoint(7, samples=0, age_s=0))
    schedule.follow(checkpoint(7, samples=0, age_s=1e6))
    assert schedule.due_in(0) > 0


def test_a_count_that_began_anew_counts_from_zero() -> None:
    """Shared memory and state were lost: 1,000 samples of the new life are enough."""
    schedule = Schedule(interval_s=0, min_samples=1000)
    schedule.follow(checkpoint(7, samples=50_000, age_s=1))
    assert schedule.due_in(999) > 0
    assert schedule.due_in(1000) <= 0


def test_a_count_that_was_restored_behind_counts_what_is_new() -> None:
    """Shared memory was lost, and the saved ring is ten samples older than the last checkpoint."""
    schedule = Schedule(interval_s=0, min_samples=1000)
    schedule.follow(checkpoint(7, samples=4000, age_s=1))
    assert schedule.due_in(3990, restored=3990) > 0
    assert schedule.due_in(3999, restored=3990) > 0
    assert schedule.due_in(4999, restored=3990) > 0
    assert schedule.due_in(5000, restored=3990) <= 0


def test_samples_of_another_base_models_time_do_not_count() -> None:
    """They came after the last checkpoint, but training has begun anew behind them."""
    schedule = Schedule(interval_s=0, min_samples=1000)
    schedule.follow(checkpoint(7, samples=4000, age_s=1))
    assert schedule.due_in(5999, start=5000) > 0
    assert schedule.due_in(6000, start=5000) <= 0


def test_back_off_doubles_up_to_a_minute() -> None:
    """1, 2, 4, … 60 s, and from the start again after a success."""
    clock = Clock()
    back_off = BackOff(clock)
    waited = []
    for _ in range(8):
        back_off.failed()
        began = clock.now
        while back_off.seconds > 0:
            clock.now += 0.5
        waited.append(clock.now - began)
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60]
    back_off.succeeded()
    back_off.failed()
    assert back_off.seconds > 0
    clock.now += 1
    assert back_off.seconds <= 0
