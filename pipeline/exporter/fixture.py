"""The operator's fixture: a file of scored rows that every candidate is judged on."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from pipeline.config import Settings
from pipeline.corpus.read import load_corpus, of_models
from pipeline.corpus.table import CorpusError
from pipeline.exporter.gate import GateSet, too_small
from pipeline.exporter.taken import base_path, taken_by_base
from pipeline.model.errors import UnusableModel
from pipeline.model.mos import FIVE_GRADES, Scale

_Stamp = tuple[tuple[int, int, int] | None, ...]

_RETRY_S = 30.0
"""Seconds before a file that could not be used is read again, unless it changes: reading it may take long."""


class Fixture:
    """The rows, read again whenever the file changes, or the base model, which says what the rows are made of."""

    def __init__(
        self, path: Path, target: str, n_features: int, base: Path | None = None, mos_range: Scale = FIVE_GRADES
    ) -> None:
        self._path, self._target, self._n_features = path, target, n_features
        self._base, self._mos_range = base, mos_range
        self._stamp: _Stamp = ()
        self._rows: GateSet | None = None
        self._problem = ""
        self._read_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> Fixture | None:
        """Return the fixture of the settings; None if there is none."""
        path = settings.fixture
        if path is None:
            return None
        return cls(path, settings.fixture_target, settings.n_features, base_path(settings), settings.mos_range)

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
        base = (self._base, self._base.with_suffix(".json")) if self._base else ()
        stamp = tuple(_look(path) for path in (self._path, *base))
        changed = stamp[0] is None or stamp != self._stamp  # to read a file that cannot be looked at says why
        if changed or (self._rows is None and time.monotonic() - self._read_at > _RETRY_S):
            self._rows, self._problem = self._read()
            self._stamp, self._read_at = stamp, time.monotonic()

    def _read(self) -> tuple[GateSet | None, str]:
        """Return the rows and no problem, or none and the problem."""
        try:
            taken = taken_by_base(self._base, self._n_features)
            corpus = load_corpus(self._path, of_models([taken]), [self._target], self._mos_range)
        except (CorpusError, UnusableModel) as error:
            return None, f"VMAFX_SIDECAR_FIXTURE: {error}"
        try:
            corpus = corpus.with_score(self._target)
        except CorpusError as error:
            return None, f"VMAFX_SIDECAR_FIXTURE_TARGET: {self._path}: {error}"
        sources, source = np.unique(corpus.source, return_inverse=True)
        names = {"group": dict(enumerate(map(str, sources)))}
        rows = GateSet(
            "fixture", corpus.inputs(taken), corpus.target(self._target), source, names=names, job=corpus.clip
        )
        lacking = too_small(rows)
        return (None, f"VMAFX_SIDECAR_FIXTURE: {self._path}: {lacking}") if lacking else (rows, "")


def _look(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with a file's content; None where it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
