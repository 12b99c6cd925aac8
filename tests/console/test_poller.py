"""supervisord's poller as the sidecar uses it."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.console.poller import PromptPoller

LONG_S = 30.0


@pytest.fixture
def poller() -> Iterator[PromptPoller]:
    """Return a poller whose first turn, in which it does not wait, is over; SIGUSR2 has a handler that does nothing."""
    before = signal.signal(signal.SIGUSR2, lambda *_: None)
    made = PromptPoller(None)
    assert made.poll(LONG_S) == ([], [])
    yield made
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR2, before)


def test_a_signal_ends_the_wait_and_spares_the_next(poller: PromptPoller) -> None:
    """Two turns follow on a signal at once: in the first a dead child is noticed, in the second it is started again."""
    began = time.monotonic()
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2)).start()
    assert poller.poll(LONG_S) == ([], [])
    assert poller.poll(LONG_S) == ([], [])
    assert time.monotonic() - began < LONG_S


def test_without_signals_it_waits(poller: PromptPoller) -> None:
    """A sidecar in which nothing happens does not spin."""
    began = time.monotonic()
    assert poller.poll(0.05) == ([], [])
    assert time.monotonic() - began >= 0.05


def test_descriptors_are_told_as_before(poller: PromptPoller) -> None:
    """What supervisord registers is reported, beside the wake-up pipe that it never sees."""
    reading, writing = os.pipe()
    poller.register_readable(reading)
    os.write(writing, b"x")
    os.kill(os.getpid(), signal.SIGUSR2)
    assert poller.poll(LONG_S) == ([reading], [])
    os.close(reading)
    os.close(writing)
