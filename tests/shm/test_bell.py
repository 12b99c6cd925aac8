"""A bell ends a wait, whoever rang it and whenever, and costs nobody anything."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from pipeline.runtime import regions
from pipeline.shm import bell as bell_module
from pipeline.shm.atomics import AtomicInt64
from pipeline.shm.bell import Bell
from pipeline.shm.segment import SHM_DIR, SharedMemoryDenied
from tests.support.processes import REPOSITORY

LONG_S = 60.0


@pytest.fixture
def word() -> AtomicInt64:
    """Return a word that says whether the owner waits."""
    return AtomicInt64(memoryview(bytearray(8)), 0)


@pytest.fixture
def bell(instance: str, word: AtomicInt64) -> Iterator[Bell]:
    """Return a bell."""
    made = Bell(regions.name(instance, "test.bell"), word)
    yield made
    made.close()


def _waits(bell: Bell) -> threading.Thread:
    thread = threading.Thread(target=bell.wait, args=(LONG_S,), daemon=True)
    thread.start()
    return thread


def test_a_ring_ends_the_wait(bell: Bell, word: AtomicInt64) -> None:
    """Of an owner that is waiting, which it says; afterwards it says that it does not."""
    waiting = _waits(bell)
    while not word.load():
        assert waiting.is_alive()
    bell.ring_if_waiting()
    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()
    assert word.load() == 0


def test_a_ring_before_the_wait_is_not_lost(bell: Bell) -> None:
    """Nor are several; the wait after that one waits again."""
    for _ in range(5):
        bell.ring()
    for still_waits in (False, True):
        waiting = _waits(bell)
        waiting.join(1.0 if still_waits else LONG_S / 2)
        assert waiting.is_alive() == still_waits
    bell.ring()
    waiting.join(LONG_S / 2)
    assert not waiting.is_alive()


def test_nobody_who_does_not_wait_is_rung_for(bell: Bell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stores are in order; elsewhere the word may be seen too late, and rings are always sent."""
    monkeypatch.setattr(bell_module, "STORES_IN_ORDER", True)
    bell.ring_if_waiting()
    with pytest.raises(BlockingIOError):
        os.read(bell.fd, 1)
    monkeypatch.setattr(bell_module, "STORES_IN_ORDER", False)
    bell.ring_if_waiting()
    assert os.read(bell.fd, 1)


def test_news_that_came_before_the_wait_prevents_it(bell: Bell) -> None:
    """The owner says that it waits before it looks, so that either it sees the news, or its ringer sees it wait."""
    seen = []

    def look() -> bool:
        seen.append(bell._waiting.load())
        return True

    bell.wait(LONG_S, unless=look)
    assert seen == [1]


def test_ringing_never_waits(bell: Bell) -> None:
    """Not even where nobody listens for a long time; all those rings are one."""
    for _ in range(200_000):
        bell.ring()
    bell.wait(LONG_S)
    with pytest.raises(BlockingIOError):
        os.read(bell.fd, 1)


def test_a_signal_rings(bell: Bell) -> None:
    """A process that names its bell as the wake-up descriptor ends its wait at a signal."""
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    wakeup = signal.set_wakeup_fd(bell.fd, warn_on_full_buffer=False)
    try:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
        bell.wait(LONG_S)
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGUSR2, before)


def test_another_process_rings_and_either_may_die(bell: Bell, word: AtomicInt64) -> None:
    """Both open the same FIFO; whoever was killed leaves it as it was for the next."""
    for _ in range(2):
        ringer = subprocess.Popen([sys.executable, "-c", _RINGER, bell.name], cwd=REPOSITORY)
        bell.wait(LONG_S)
        ringer.kill()
        ringer.wait()
    again = Bell(bell.name, word)
    again.ring()
    bell.wait(LONG_S)
    again.close()
    assert bell.is_current()


_RINGER = """
import sys, time
from pipeline.shm.bell import Bell
from pipeline.shm.atomics import AtomicInt64
Bell(sys.argv[1], AtomicInt64(memoryview(bytearray(8)), 0)).ring()
time.sleep(60)
"""


def test_a_bell_that_was_removed_is_not_current(bell: Bell, word: AtomicInt64) -> None:
    """Nor is one in whose place there is another."""
    assert bell.is_current()
    (SHM_DIR / bell.name).unlink()
    assert not bell.is_current()
    other = Bell(bell.name, word)
    assert (bell.is_current(), other.is_current()) == (False, True)
    other.close()


def test_what_is_no_bell_is_not_taken_for_one(instance: str, word: AtomicInt64) -> None:
    """A file, a link or a directory under its name is named in the error."""
    name = regions.name(instance, "test.bell")
    (SHM_DIR / name).write_bytes(b"")
    with pytest.raises(SharedMemoryDenied, match="expected a FIFO"):
        Bell(name, word)
    (SHM_DIR / name).unlink()
    (SHM_DIR / name).symlink_to("/dev/null")
    with pytest.raises(SharedMemoryDenied, match=name):
        Bell(name, word)
