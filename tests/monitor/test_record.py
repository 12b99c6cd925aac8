"""What is kept in memory, and how a page follows it without asking for everything each time."""

import msgspec
import pytest

from pipeline.checkpoints.checkpoint import Checkpoint, State
from pipeline.monitor import record as record_module
from pipeline.monitor.history import COLUMNS, LIMIT, Evaluation
from pipeline.monitor.record import Record
from pipeline.runtime.health import Health, examine
from pipeline.runtime.reports import Board


def _evaluation(at: float) -> Evaluation:
    return (at, *([0.0] * (len(COLUMNS) - 1)))


def _checkpoint(version: int, state: State) -> Checkpoint:
    return Checkpoint(
        version=version, sha256="", created="", step=0, samples=0, base_model="", base_sha256="", state=state, reason=""
    )


@pytest.fixture
def moments(board: Board, monkeypatch: pytest.MonkeyPatch) -> list[Health]:
    """Return five moments in a row, each with more steps; sampling need not wait between them."""
    monkeypatch.setattr(record_module, "_INTERVAL_S", 0.0)
    health = examine(board)
    return [
        msgspec.structs.replace(health, trainer=msgspec.structs.replace(health.trainer, step=step)) for step in range(5)
    ]


def test_a_page_gets_only_what_is_new(moments: list[Health]) -> None:
    """The token of one answer makes the next one begin where that ended."""
    record = Record()
    for health in moments[:3]:
        record.sample(health)
    token, whole, rows = record.since("")
    assert (whole, len(rows)) == (True, 3)
    for health in moments[3:]:
        record.sample(health)
    token, whole, rows = record.since(token)
    assert (whole, [row[COLUMNS.index("step")] for row in rows]) == (False, [3, 4])
    assert record.since(token)[1:] == (False, [])


@pytest.mark.parametrize("token", ["nonsense", "1.5", ".", "9" * 400, "1.99999999999999999999", "-1.-1"])
def test_an_unknown_token_gets_everything(moments: list[Health], token: str) -> None:
    """A token of another life, or garbage, is answered with the whole record."""
    record = Record()
    record.sample(moments[1])
    assert record.since(token)[1:] == (True, record.evaluations)


def test_earlier_lives_come_first(moments: list[Health]) -> None:
    """What is loaded late goes in front, and a page that knew the rest gets everything anew."""
    record = Record()
    record.sample(moments[1])
    token, _, _ = record.since("")
    record.prepend([_evaluation(1.0), _evaluation(2.0)])
    _, whole, rows = record.since(token)
    assert whole
    assert [row[0] for row in rows[:2]] == [1.0, 2.0]
    assert len(rows) == 3


def test_memory_is_bounded() -> None:
    """However much was recorded before, no more than the limit is kept."""
    record = Record()
    record.prepend([_evaluation(float(at)) for at in range(3 * LIMIT)])
    assert len(record.evaluations) <= LIMIT


def test_nothing_is_noted_while_nothing_happens(moments: list[Health]) -> None:
    """The same state twice is noted once."""
    record = Record()
    record.sample(moments[2])
    record.sample(moments[2])
    assert len(record.evaluations) == 1


def test_what_could_not_be_saved_is_saved_later(moments: list[Health]) -> None:
    """Returned evaluations keep their place in front of newer ones."""
    record = Record()
    record.sample(moments[1])
    taken = record.take_unsaved()
    record.sample(moments[2])
    record.return_unsaved(taken)
    assert record.take_unsaved() == record.evaluations
    assert record.take_unsaved() == []


def test_only_new_checkpoints_are_counted() -> None:
    """What was there at the first look is no publication of this life; neither is a verdict that was rewritten."""
    record = Record()
    record.put_checkpoints({1: _checkpoint(1, "stable"), 2: _checkpoint(2, "unstable")})
    record.put_checkpoints({2: _checkpoint(2, "stable"), 3: _checkpoint(3, "unstable")})
    assert record.verdicts == {"stable": 0, "unstable": 1, "unproven": 0}
    assert [each.state for each in record.checkpoints.values()] == ["stable", "stable", "unstable"]
