"""Ends a sidecar's processes for a moment, so that nobody else writes what they own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.config import Settings
from pipeline.runtime import kernel, regions
from pipeline.runtime.health import examine
from pipeline.shm.segment import SegmentError, take_lock

_IN_ORDER = ("ingest", "trainer", "archive", "exporter")
_PATIENCE_S = 12.0
"""How long a process may take to end when it is told to; then it is killed."""


@contextmanager
def standing_still(settings: Settings) -> Iterator[None]:
    """Hold the lock of every process but the monitor's; those that run are ended, and begin again afterwards.

    Ingest ends first, as when the sidecar stops. What a node sends meanwhile waits in the socket.
    Raises BlockingIOError where another command is at it, SharedMemoryDenied for an instance of another user.
    """
    held = [take_lock(regions.still_lock(settings.instance_name))]
    try:
        held.extend(_taken(settings, role) for role in _IN_ORDER)
        yield
    finally:
        for fd in held:
            os.close(fd)


def _taken(settings: Settings, role: str) -> int:
    """End a process; return its lock."""
    lock, until = regions.role_lock(settings.instance_name, role), time.monotonic() + _PATIENCE_S
    _send(settings, role, signal.SIGTERM)
    while True:
        try:
            return take_lock(lock)
        except BlockingIOError:
            if time.monotonic() > until:
                _send(settings, role, signal.SIGKILL)
        time.sleep(0.02)


def _send(settings: Settings, role: str, number: signal.Signals) -> None:
    with suppress(SegmentError, ProcessLookupError):
        report = examine(regions.attach_board(settings.instance_name)).roles.get(role)
        if report is not None and report.alive:
            board = regions.attach_board(settings.instance_name)
            kernel.send(report.pid, getattr(board, role)().born, number)
