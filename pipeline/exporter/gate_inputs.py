"""What the gate needs: held-out rows, the operator's fixture, the base model and the last stable one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from pipeline.checkpoints.checkpoint import Checkpoint, Verdict
from pipeline.checkpoints.names import file_of
from pipeline.corpus.table import CorpusError
from pipeline.exporter.fixture import Fixture
from pipeline.exporter.gate import GateSet, Predict, judge
from pipeline.exporter.veto import vetoes
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.control import Control
from pipeline.runtime.messages import Names
from pipeline.shm.rows import RowBatch

MORE_GROUPS = (
    "Send samples of eight groups or more, since of the first ones about every second is held out: a group is the "
    "samples with one source_id, or, where there is none, with one job_id."
)


OWNERS = ("codec", "node", "tenant", "height")


def held_out(rows: RowBatch, names: Names | None = None) -> GateSet:
    """Return held-out rows as a gate set."""
    known = names or Names()
    return GateSet(
        "held-out",
        np.ascontiguousarray(rows.features),
        rows.score,
        rows.group,
        MORE_GROUPS,
        owners={kind: getattr(rows, kind) for kind in OWNERS},
        names={
            "codec": known.codec,
            "node": known.node,
            "tenant": known.tenant,
            "group": known.group,
            "height": {height: str(height) for height in np.unique(rows.height).tolist()},
        },
        job=rows.job,
        order=rows.sequence,
    )


class GateInputs:
    """Judges candidates as the settings say."""

    def __init__(self, directory: Path, fixture: Fixture | None, delta: float, state_dir: Path) -> None:
        self._directory, self._fixture, self._delta, self._state_dir = directory, fixture, delta, state_dir

    def verdict(
        self,
        candidate: OnnxModel,
        base: BaseModel,
        stable: Checkpoint | None,
        holdout: RowBatch | None,
        incomparable: str = "",
        control: Control | None = None,
        names: Names | None = None,
        margin: float = 0.0,
    ) -> Verdict:
        """Judge a candidate on the rows there are, and by what operators have said (`control`).

        It may be worse than the last stable model by `margin` points of RMSE. `names` are for the verdict and its
        figures.

        A candidate is at most unproven if the configured fixture or the existing last stable model cannot be used.
        `incomparable` says why the last stable model cannot be compared with; empty if it can, or there is none.
        """
        sets: list[GateSet] = []
        if holdout is not None:
            sets.append(held_out(holdout, names))
        missing = [f"last stable checkpoint: {incomparable}."] if incomparable else []
        if self._fixture is not None:
            try:
                sets.append(self._fixture.rows())
            except CorpusError as error:
                missing.append(f"{error}.")
        last: Predict | None = None
        try:
            last = None if stable is None else self._load(stable).predict
        except (UnusableModel, OSError) as error:
            missing.append(f"last stable checkpoint: {error}.")
        base_model = OnnxModel(base.serialized).predict
        verdict = judge(candidate.predict, base_model, last, sets, self._delta, margin)
        if verdict.state == "unstable":
            return verdict
        try:
            in_place = last or base_model
            against = vetoes(control or Control(), self._state_dir, base.digest, candidate.predict, in_place, sets)
            veto = next(against, "")
        except (UnusableModel, OSError) as error:
            veto, missing = "", [*missing, f"withdrawn checkpoint: {error}."]
        if veto:
            return Verdict("unstable", veto, verdict.metrics)
        return Verdict("unproven", " ".join(missing), verdict.metrics) if missing else verdict

    def _load(self, stable: Checkpoint) -> OnnxModel:
        path = file_of(self._directory, stable.version)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != stable.sha256:
            raise UnusableModel(path.name, "its digest is not the published one")
        return OnnxModel(data)
