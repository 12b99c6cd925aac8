"""With which code the whole sidecar ends, from how its processes do."""

import signal

import pytest

from pipeline.console.ending import Ending
from pipeline.lifecycle import ExitCode


@pytest.mark.parametrize("code", [65, 71, 73, 78])
def test_what_no_restart_heals_ends_it_and_the_first_reason_counts(code: int) -> None:
    """What the others say when they are stopped for it, or have found meanwhile, is not the reason."""
    ending = Ending()
    assert ending.ended("trainer", code, stopping=False)
    assert not ending.ended("ingest", 65, stopping=False)
    assert not ending.ended("exporter", ExitCode.LAST_SAVE_FAILED, stopping=True)
    assert not ending.given_up("exporter", stopping=True)
    assert ending.code == code


@pytest.mark.parametrize("code", [0, 1, 74, 127, -signal.SIGKILL])
def test_anything_else_is_restarted(code: int) -> None:
    """A crash, a kill, a stop of one process alone; and of the monitor nothing ends it."""
    ending = Ending()
    assert not ending.ended("exporter", code, stopping=False)
    assert not ending.ended("monitor", 78, stopping=False)
    assert not ending.given_up("monitor", stopping=False)
    assert ending.code == ExitCode.OK


def test_who_is_given_up_ends_it() -> None:
    """Supervisord tries no more: 70; asked to stop, it says the same of a process that waits, and means nothing."""
    ending = Ending()
    assert not ending.given_up("ingest", stopping=True)
    assert int(ending.code) == 0
    assert ending.given_up("ingest", stopping=False)
    assert int(ending.code) == 70


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
    ending = Ending()
    ending.ended(role, code, stopping=True)
    assert ending.code == expected


def test_memory_that_fills_up_later_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little for the start stays too little; what a full /dev/shm keeps from a restart may work a second later."""
    ending = Ending()
    monkeypatch.setattr(ending, "_started", ending._started - 3600)
    assert not ending.ended("trainer", ExitCode.NO_SHARED_MEMORY, stopping=False)
    assert ending.code == ExitCode.OK
    assert ending.ended("trainer", ExitCode.BAD_SETTINGS, stopping=False)
