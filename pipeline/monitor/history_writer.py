"""The monitor's thread for everything on disk: it may be slow, full or gone, and nothing else waits for it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import msgspec

from pipeline.checkpoints import checkpoint, names
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.monitor import history
from pipeline.monitor.history import History, HistoryError
from pipeline.runtime.reports import Board, ExporterReport, Follower

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.monitor.record import Record
    from pipeline.runtime.logs import Logger

_NEWEST = 50


class Archive:
    """Keeps `record` on disk, and loads from there: earlier evaluations, checkpoints, free space.

    `problem` says what prevents that; empty if nothing does.
    """

    def __init__(self, settings: Settings, record: Record, board: Board, log: Logger) -> None:
        self._directory = settings.checkpoint_dir
        self._path = settings.state_dir / history.NAME
        self._record = record
        self._exporter = Follower(board, "exporter", ExporterReport)
        self._looked_at: object = None
        self.problem = ""
        self._loaded = False
        self._log = log
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def notice(self, report: ExporterReport) -> None:
        """Wake the thread if the exporter's report has changed since its last look."""
        if _exported(report) != self._looked_at:
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Save once more and end; wait at most `seconds`."""
        self._stopping = True
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        save_at = time.monotonic()
        while not self._stopping:
            due = time.monotonic() >= save_at
            self.turn(save=due)
            if due:
                save_at = time.monotonic() + history.SAVE_INTERVAL_S
            self._wake.wait(max(0.0, save_at - time.monotonic()))
            self._wake.clear()
        self.turn(save=True)

    def turn(self, *, save: bool) -> None:
        """Look for new checkpoints; with `save`, also write what is unsaved. What fails is tried again next time."""
        problem = self.problem if not save else ""
        try:
            self._look()
            if save:
                self._save()
        except FileNotFoundError:
            pass  # there is no checkpoint directory yet; whether that is wrong, the exporter says
        except (HistoryError, OSError) as error:
            problem = str(error)
        if problem not in ("", self.problem):
            self._log.warning("history_unavailable", reason=problem)
        self.problem = problem

    def _look(self) -> None:
        """Read the newest sidecars where the exporter reports something else than at the last look."""
        self._exporter.refresh()
        exported = _exported(self._exporter.report)
        if exported == self._looked_at:
            return
        found = {version: self._read(version) for version in names.published(self._directory)[-_NEWEST:]}
        self._record.put_checkpoints({version: sidecar for version, sidecar in found.items() if sidecar})
        self._looked_at = exported

    def _read(self, version: int) -> Checkpoint | None:
        try:
            return checkpoint.read(self._directory, version)
        except checkpoint.CheckpointError:
            return None

    def _save(self) -> None:
        disk = os.statvfs(self._directory)
        self._record.free, self._record.size = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        unsaved = self._record.take_unsaved()
        try:
            with history.opened(self._path, write=True) as file:
                if not self._loaded:
                    self._load(file)
                file.add(self._record.evaluations if file.is_empty else unsaved)
                file.put((version, msgspec.json.encode(each)) for version, each in self._record.checkpoints.items())
        except BaseException:
            self._record.return_unsaved(unsaved)
            raise
        self._loaded = True

    def _load(self, file: History) -> None:
        known = filter(None, map(_decoded, file.checkpoints()))
        self._record.put_checkpoints({each.version: each for each in known} | self._record.checkpoints)
        self._record.prepend(file.evaluations())


def _exported(report: ExporterReport) -> object:
    return report.pid, report.version, report.stable_version, report.published


def _decoded(sidecar: bytes) -> Checkpoint | None:
    """Return what another version of the program may have written; None where this one cannot read it."""
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(sidecar, type=Checkpoint)
    return None
