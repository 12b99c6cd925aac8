"""A signal goes to the process that is meant, and to no other that has its number."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.runtime import kernel


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that any signal ends."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_what_the_kernel_says(child: subprocess.Popen[bytes]) -> None:
    """State, parent and birth of a process; nothing of one that is gone or never was."""
    seen, own = kernel.look_at(child.pid), kernel.look_at(os.getpid())
    assert seen.parent == os.getpid()
    assert seen.born >= own.born > 0
    child.kill()
    child.wait()
    assert kernel.look_at(child.pid) == kernel.look_at(0) == kernel.look_at(-1) == ("", 0, 0)


def test_a_stranger_with_the_number_gets_no_signal(child: subprocess.Popen[bytes]) -> None:
    """Born at another moment, it is another process; the one that was meant gets it."""
    born = kernel.look_at(child.pid).born
    with pytest.raises(ProcessLookupError, match="used by another process"):
        kernel.send(child.pid, born - 1, signal.SIGUSR1)
    assert child.poll() is None
    kernel.send(child.pid, born, signal.SIGUSR1)
    assert child.wait(60) == -signal.SIGUSR1
    with pytest.raises(ProcessLookupError):
        kernel.send(child.pid, born, signal.SIGUSR1)
