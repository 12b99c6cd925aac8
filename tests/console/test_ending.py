"""With which code the whole sidecar ends, from how its processes do."""

import signal

import pytest

from pipeline.console.ending import Outcome
from pipeline.runtime.lifecycle import ExitCode


@pytest.mark.parametrize("code", [65, 71, 73, 78])
def test_what_no_restart_heals_ends_it_and_the_first_reason_counts(code: int) -> None:
    """What the others say when they are stopped for it, or have found meanwhile, is not the reason."""
    outcome = Outcome()
    assert outcome.ended("trainer", code, stopping=False)
    assert not outcome.ended("ingest", 65, stopping=False)
    assert not outcome.ended("exporter", ExitCode.LAST_SAVE_FAILED, stopping=True)
    assert not outcome.given_up("exporter", stopping=True)
    assert outcome.code == code


@pytest.mark.parametrize("code", [0, 1, 74, 127, -signal.SIGKILL])
def test_anything_else_is_restarted(code: int) -> None:
    """A crash, a kill, a stop of one process alone; and of the monitor nothing ends it."""
    outcome = Outcome()
    assert not outcome.ended("exporter", code, stopping=False)
    assert not outcome.ended("monitor", 78, stopping=False)
    assert not outcome.given_up("monitor", stopping=False)
    assert outcome.code == ExitCode.OK


def test_who_is_given_up_ends_it() -> None:
    """Supervisord tries no more: 70; asked to stop, it says the same of a process that waits, and means nothing."""
    outcome = Outcome()
    assert not outcome.given_up("ingest", stopping=True)
    assert int(outcome.code) == 0
    assert outcome.given_up("ingest", stopping=False)
    assert int(outcome.code) == 70


@pytest.mark.parametrize(
    ("role", "code", "expected"),
    [
        ("exporter", 0, 0),
        ("exporter", ExitCode.LAST_SAVE_FAILED, ExitCode.LAST_SAVE_FAILED),
        ("exporter", -signal.SIGKILL, ExitCode.LAST_SAVE_FAILED),
        ("exporter", -signal.SIGTERM, 0),
        ("trainer", 65, 0),
        ("ingest", -signal.SIGKILL, 0),
    ],
)
def test_a_stop_fails_only_where_the_state_is_not_saved(role: str, code: int, expected: int) -> None:
    """Told to end, a process is not asked how it felt, but for the last save: one that failed, or was cut short."""
    outcome = Outcome()
    outcome.ended(role, code, stopping=True)
    assert outcome.code == expected


def test_memory_that_fills_up_later_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little for the start stays too little; what a full /dev/shm keeps from a restart may work a second later."""
    outcome = Outcome()
    monkeypatch.setattr(outcome, "_started", outcome._started - 3600)
    assert not outcome.ended("trainer", ExitCode.NO_SHARED_MEMORY, stopping=False)
    assert outcome.code == ExitCode.OK
    assert outcome.ended("trainer", ExitCode.BAD_SETTINGS, stopping=False)
