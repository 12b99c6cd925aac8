"""What the kernel knows of a process: enough to tell whether a pid is still the process that reported it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple


class KernelState(NamedTuple):
    """A process as in /proc: state as the kernel's letter (R, S, T, Z, …), its parent, and when it was born.

    `born` is in clock ticks since boot; pid and `born` together are never given to another process. All empty where
    there is none.
    """

    state: str = ""
    parent: int = 0
    born: int = 0


def look_at(pid: int) -> KernelState:
    """Return what the kernel says of the process `pid`."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() if pid > 0 else []
    except OSError:
        fields = []
    return KernelState(fields[0], int(fields[1]), int(fields[19])) if fields else KernelState()


def send(pid: int, born: int, number: signal.Signals) -> None:
    """Send a signal to the process `pid` that was born then, and to no other.

    Raises ProcessLookupError where it is gone, PermissionError where it is another user's.
    """
    descriptor = os.pidfd_open(pid)  # from here on this is one process, whoever gets its number after it
    try:
        if look_at(pid).born != born:
            raise ProcessLookupError(f"process {pid} has ended, and its number is used by another process")
        signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
