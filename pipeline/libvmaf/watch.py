"""Takes the logs of a directory as they appear, written whole or still growing, and each of them once."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.libvmaf.changes import Changes
from pipeline.libvmaf.ledger import Ledger, has_grown
from pipeline.libvmaf.sender import Sender, Shipment, Stop

SUFFIXES = (".json", ".xml", ".csv")
_TOGETHER_S = 0.2
"""Changes within so many seconds are looked at together."""


@dataclass
class _Open:
    """A log that may still grow."""

    shipment: Shipment
    inode: int
    size: int = 0
    changed_ns: int = 0
    changed: float = field(default_factory=time.monotonic)


class Watch:
    """Follows the files of `directory` whose names end as logs do and do not begin with a dot.

    A log is done when it says so, or when it has not changed for `quiet_s` seconds: logs in CSV, and those cut short.
    Where one of these grows later, what is new is sent. `say` is told of each log that is done.
    """

    def __init__(
        self, directory: Path, sender: Sender, ledger: Ledger, stop: Stop, quiet_s: float, say: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._sender = sender
        self._ledger = ledger
        self._stop = stop
        self._quiet_s = quiet_s
        self._say = say
        self._open: dict[str, _Open] = {}

    def run(self) -> None:
        """Go on until told to stop: Stopped where that is in the middle of a log."""
        with Changes(self._directory) as changes:
            names: set[str] | None = None
            # Looked at before each wait: a signal that came before `Changes` was there does not end a wait.
            while not self._stop.wait(_TOGETHER_S if names else 0):
                for name in sorted(self._all() if names is None else names):
                    self._look_at(name)
                self._conclude_quiet_ones()
                names = changes.wait(self._until_the_next_is_quiet())

    def _all(self) -> set[str]:
        return {path.name for path in self._directory.iterdir()}

    def _look_at(self, name: str) -> None:
        if name.startswith(".") or not name.endswith(SUFFIXES):
            return
        path = self._directory / name
        try:
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                self._follow(path, status)
        except FileNotFoundError:
            self._open.pop(name, None)

    def _follow(self, path: Path, status: os.stat_result) -> None:
        size, changed_ns = status.st_size, status.st_mtime_ns
        log = self._open.get(path.name)
        if log is None or size < log.size or status.st_ino != log.inode:
            shipment = self._begun(path, size, changed_ns)
            if shipment is None:
                return
            log = self._open[path.name] = _Open(shipment, status.st_ino)
        if (size, changed_ns) != (log.size, log.changed_ns):
            log.size, log.changed_ns, log.changed = size, changed_ns, time.monotonic()
            log.shipment.advance()
        if log.shipment.ended:
            self._conclude(path.name)

    def _begun(self, path: Path, size: int, changed_ns: int) -> Shipment | None:
        """Begin with a log where it is new, or has grown; None where there is nothing to send of it."""
        entry = self._ledger.entry(path.name)
        if entry and (entry.size, entry.changed_ns) == (size, changed_ns):
            return None
        skip = entry.samples if entry and has_grown(path, size, entry) else 0
        shipment = self._sender.open(path, skip)
        if shipment is None:
            self._ledger.record(path, size, changed_ns, 0)
        return shipment

    def _conclude_quiet_ones(self) -> None:
        now = time.monotonic()
        for name in [name for name, log in self._open.items() if now - log.changed >= self._quiet_s]:
            self._conclude(name)

    def _conclude(self, name: str) -> None:
        """Send what is left of a log, and note it once everything is answered."""
        log = self._open.pop(name)
        log.shipment.conclude()
        self._sender.drain()
        self._say(f"{name}: {log.shipment.sent:,} samples")
        self._ledger.record(self._directory / name, log.size, log.changed_ns, log.shipment.sent)

    def _until_the_next_is_quiet(self) -> float | None:
        if not self._open:
            return None
        oldest = min(log.changed for log in self._open.values())
        return max(0.0, oldest + self._quiet_s - time.monotonic())
