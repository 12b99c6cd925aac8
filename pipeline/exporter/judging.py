"""What the gate judges on and against: held-out rows, the operator's fixture, base model and last stable one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.corpus.table import CorpusError
from pipeline.exporter.checkpoint import Checkpoint, Verdict
from pipeline.exporter.fixture import Fixture
from pipeline.exporter.gate import GateSet, Predict, judge
from pipeline.exporter.names import file_of
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.shm.rows import RowBatch


class Judging:
    """Judges candidates as the settings say."""

    def __init__(self, directory: Path, fixture: Fixture | None, delta: float) -> None:
        self._directory, self._fixture, self._delta = directory, fixture, delta

    def verdict(
        self, candidate: OnnxModel, base: BaseModel, stable: Checkpoint | None, holdout: RowBatch | None
    ) -> Verdict:
        """Judge a candidate on the rows there are. Without the fixture that was asked for, none is called stable."""
        sets: list[GateSet] = []
        if holdout is not None:
            sets.append(GateSet("held-out", np.ascontiguousarray(holdout.features), holdout.score, holdout.group))
        missing = ""
        if self._fixture is not None:
            try:
                sets.append(self._fixture.rows())
            except CorpusError as error:
                missing = f"{error}."
        base_model = OnnxModel(base.serialized)
        verdict = judge(candidate.predict, base_model.predict, self._last_stable(stable, base), sets, self._delta)
        if missing and verdict.state != "unstable":
            return Verdict("unproven", missing, verdict.metrics)
        return verdict

    def _last_stable(self, stable: Checkpoint | None, base: BaseModel) -> Predict | None:
        """Load the last stable model; one that is gone or takes other features is nothing to compare with."""
        if stable is None:
            return None
        try:
            model = OnnxModel(file_of(self._directory, stable.version).read_bytes())
        except (UnusableModel, OSError):
            return None
        return model.predict if model.n_features == base.n_features else None
