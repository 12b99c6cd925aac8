"""What every process reports of itself."""

import signal
from collections.abc import Iterator

import pytest

from pipeline.runtime import logs, regions, restore
from pipeline.runtime.lifecycle import StopFlag
from pipeline.runtime.process import Process
from pipeline.runtime.reports import Reporter, TrainerReport
from tests.support.boards import settings_of


@pytest.fixture
def process(instance: str) -> Iterator[Process[TrainerReport]]:
    """Return the surroundings of a trainer; the test's own signal handlers are back afterwards."""
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(number) for number in numbers]
    settings, log = settings_of(instance), logs.get("trainer")
    board = regions.open_board(settings)
    reporter = Reporter(board, "trainer", TrainerReport)
    saved, bell = restore.Saved(settings, log), regions.bell(settings, board, "trainer")
    yield Process(settings, StopFlag(), board, reporter, log, saved, bell)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_problem_of_any_length_is_reported(process: Process[TrainerReport]) -> None:
    """As an operator's reason for a pause, or an error that quotes a file: its beginning fits, and is told once."""
    process.phase("paused", "x" * 100_000)
    assert set(process.board.trainer().problem) == {"x"}
    process.show("paused", "y" * 100_000, "z")
    beats = process.board.trainer()
    process.show("paused", "y" * 100_000, "z")
    assert (beats.phase, set(beats.problem)) == ("paused", {"y"})
    assert process.board.trainer().problem == beats.problem
