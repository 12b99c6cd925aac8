"""Saves what a restart resumes from: copies the regions out of shared memory into a state file."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec

from pipeline.config import Settings
from pipeline.exporter.sources import Sources
from pipeline.runtime import saved_state, state_file
from pipeline.runtime.logs import Logger
from pipeline.runtime.reports import ROLES, Board
from pipeline.runtime.restore import Saved
from pipeline.runtime.saved_state import SavedState
from pipeline.shm.mailbox import Torn


class StateWriter:
    """Writes state files into the settings' state directory, and sets aside those that cannot be used."""

    def __init__(self, settings: Settings, sources: Sources, board: Board, log: Logger, saved: Saved) -> None:
        self._directory = settings.state_dir
        self._n_features = settings.n_features
        self._sources, self._board, self._log = sources, board, log
        self._saved = saved
        self._is_open = False
        self._before = SavedState(settings.n_features)
        self._saved_marks = (0, 0)

    def save(self) -> None:
        """Save, unless nothing has changed since. Raises OSError when the disk refuses."""
        self._open()
        marks = self._sources.marks()
        state = None if marks == self._saved_marks else self._copy()
        if state is None:
            return
        if self._before.base_digest not in {"", state.base_digest}:
            saved_state.keep_for_its_base(self._directory)
        for aside in saved_state.save(self._directory, state):
            self._log.error("state_set_aside", reason="it has more samples than what is saved now", aside=str(aside))
        self._before, self._saved_marks = state, marks

    def _open(self) -> None:
        """Look at what was saved before this start."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        if self._is_open:
            return
        state, rejected = self._saved.newest()
        self._saved.forget()
        for each in (each for each in rejected if each.is_broken):
            self._log.error("state_set_aside", reason=each.reason, aside=str(state_file.set_aside(each.path)))
        if state is not None and state.n_features != self._n_features:
            self._set_all_aside(f"it has {state.n_features} features, VMAFX_SIDECAR_N_FEATURES is {self._n_features}")
        elif state is not None:
            self._before = state
        self._is_open = True

    def _set_all_aside(self, reason: str) -> None:
        for path in state_file.files(self._directory):
            self._log.error("state_set_aside", reason=reason, aside=str(state_file.set_aside(path)))

    def _copy(self) -> SavedState | None:
        """Copy everything; None where there is nothing, or ingest has not resumed from the state before yet.

        The snapshot is copied before the ring, so that its cursor is never ahead of the ring's head; likewise how far
        the stream was read.
        """
        trained, stream, ring = self._trained(), self._sources.stream(), self._sources.ring()
        if trained is None or ring is None:
            return None
        rows, identity = ring
        regions = {**trained.regions, "ring": rows}
        names = self._sources.names()
        return replace(trained, regions=regions, reports=self._reports(), ring=identity, names=names, stream=stream)

    def _trained(self) -> SavedState | None:
        """Copy the trainer's part; that of the state before as long as the trainer has published nothing.

        None while snapshot and reservoirs are of different base models: the trainer is about to go from one to another.
        """
        newest = self._sources.snapshot()
        if newest is None:
            return self._before
        snapshot, payload = newest
        regions = {}
        for name in ("reservoir", "holdout"):
            rows = self._sources.reservoir(name, snapshot.base_digest)
            if rows is None:
                return None
            regions[name] = rows
        return SavedState(self._n_features, snapshot.base_digest, regions, payload)

    def _reports(self) -> dict[str, bytes]:
        reports: dict[str, bytes] = {}
        for role in ROLES:
            try:
                letter = self._board.box(role).read()
            except Torn:
                continue
            if letter is not None:
                reports[role] = letter.payload
        if "exporter" in reports:
            own = msgspec.structs.replace(self._board.exporter(), state_saved_at=time.time())  # by this very save
            reports["exporter"] = msgspec.msgpack.encode(own)
        return reports
