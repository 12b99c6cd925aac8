"""The operator's fixture: a file of scored rows that every candidate is judged on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from pipeline.config import Settings
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import CorpusError
from pipeline.exporter.gate import GateSet, too_small

_RETRY_S = 30.0
"""Seconds before a file that could not be used is read again, unless it changes: reading it may take long."""


class Fixture:
    """The rows, read again whenever the file changes."""

    def __init__(self, path: Path, target: str, n_features: int) -> None:
        self._path, self._target, self._n_features = path, target, n_features
        self._stamp: tuple[int, int, int] | None = None
        self._rows: GateSet | None = None
        self._problem = ""
        self._read_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> Fixture | None:
        """Return the fixture of the settings; None if there is none."""
        path = settings.fixture
        return None if path is None else cls(path, settings.fixture_target, settings.n_features)

    def rows(self) -> GateSet:
        """Return the rows. Raises CorpusError where they cannot be used; its message is that of `problem`."""
        self._refresh()
        if self._rows is None:
            raise CorpusError(self._problem)
        return self._rows

    def problem(self) -> str:
        """Say why the file cannot be used, beginning with the name of the setting; empty where it can."""
        self._refresh()
        return self._problem

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = status.st_ino, status.st_mtime_ns, status.st_size
        except OSError:  # to read it says why
            stamp = None
        changed = stamp is None or stamp != self._stamp
        if changed or (self._rows is None and time.monotonic() - self._read_at > _RETRY_S):
            self._rows, self._problem = self._read()
            self._stamp, self._read_at = stamp, time.monotonic()

    def _read(self) -> tuple[GateSet | None, str]:
        """Return the rows and no problem, or none and the problem."""
        try:
            corpus = load_corpus(self._path)
        except CorpusError as error:
            return None, f"VMAFX_SIDECAR_FIXTURE: {error}"
        where = f"VMAFX_SIDECAR_FIXTURE: {self._path}"
        if corpus.features.shape[1] != self._n_features:
            taken = f"VMAFX_SIDECAR_N_FEATURES is {self._n_features}"
            return None, f"{where}: rows of {corpus.features.shape[1]} features, {taken}"
        try:
            score = corpus.target(self._target)
        except CorpusError as error:
            return None, f"VMAFX_SIDECAR_FIXTURE_TARGET: {self._path}: {error}"
        sources, source = np.unique(corpus.source, return_inverse=True)
        names = {"group": dict(enumerate(map(str, sources)))}
        rows = GateSet("fixture", corpus.features, score, source, names=names, job=corpus.clip)
        lacking = too_small(rows)
        return (None, f"{where}: {lacking}") if lacking else (rows, "")
