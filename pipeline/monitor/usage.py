"""Processor time and memory of the processes, from the kernel."""

from __future__ import annotations

from typing import NamedTuple

import psutil


class Usage(NamedTuple):
    """Processor seconds used so far, and resident memory in bytes."""

    cpu_seconds: float
    memory: int


class Usages:
    """Usage by process id; keeps what is needed to ask again cheaply."""

    def __init__(self) -> None:
        self._processes: dict[str, psutil.Process] = {}

    def of(self, role: str, pid: int) -> Usage | None:
        """Return the usage of the process `pid` of `role`; None where there is none."""
        try:
            process = self._processes.get(role)
            if process is None or process.pid != pid:
                process = self._processes[role] = psutil.Process(pid)
            times = process.cpu_times()
            return Usage(times.user + times.system, process.memory_info().rss)
        except (psutil.Error, ValueError):
            self._processes.pop(role, None)
            return None
