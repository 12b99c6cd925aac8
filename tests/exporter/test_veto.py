"""What operators have said against a candidate."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.exporter.gate import GateSet
from pipeline.exporter.gate_inputs import GateInputs
from pipeline.exporter.veto import vetoes
from pipeline.model.graph import load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.runtime.control import Control, Order, Withdrawn, withdrawn_model
from pipeline.shm.rows import RowBatch

BASE = load_base_model(data.BASE_MODEL)
JUDGE = load_corpus(data.CORPUS).only("judge")
DIRECTION = np.random.default_rng(0).standard_normal(BASE.n_parameters).astype(np.float32)
ORDER = Order(number=1, at="2026-05-28T12:34:56Z", user="root (0)", text="freeze")


def moved(by: float) -> bytes:
    """Return the base model with its weights moved so far in one direction."""
    return BASE.with_weights(BASE.vector() + np.float32(by) * DIRECTION)


@pytest.fixture
def withdrawn(tmp_path: Path) -> Control:
    """Withdraw a model that is far from the base model."""
    each = Withdrawn(number=1, version=7, sha256="c" * 64, base_digest=BASE.digest)
    withdrawn_model(tmp_path, each).write_bytes(moved(0.02))
    return Control(withdrawn=(each,))


def said(control: Control, directory: Path, candidate: bytes, base_digest: str = BASE.digest) -> list[str]:
    """Return the vetoes against a candidate where the base model is in place."""
    rows = GateSet("held-out", JUDGE.features, JUDGE.targets["vmaf"], np.arange(len(JUDGE)))
    in_place = OnnxModel(BASE.serialized).predict
    return list(vetoes(control, directory, base_digest, OnnxModel(candidate).predict, in_place, [rows]))


def test_what_was_withdrawn_does_not_come_back(withdrawn: Control, tmp_path: Path) -> None:
    """Nor what predicts nearly the same; what is nearer to the model in its place may become stable."""
    (reason,) = said(withdrawn, tmp_path, moved(0.02))
    assert "version 7" in reason
    assert "rollback --lift 7" in reason
    assert len(said(withdrawn, tmp_path, moved(0.019))) == 1
    assert said(withdrawn, tmp_path, moved(0.0)) == []
    assert said(Control(), tmp_path, moved(0.02)) == []
    assert said(withdrawn, tmp_path, moved(0.02), base_digest="d" * 64) == []


def test_frozen_and_withdrawn_candidates_are_unstable_whatever_the_gate_says(
    withdrawn: Control, tmp_path: Path
) -> None:
    """A better model is stable without orders, and not with them; one that cannot be read leaves it unproven."""
    inputs = GateInputs(tmp_path, None, 0.005, tmp_path)
    n = 600
    rows = RowBatch(n, 6)
    rows.features[:] = JUDGE.features[:n]
    rows.group[:] = np.arange(n) % 12
    better = OnnxModel(moved(0.02))
    rows.score[:] = better.predict(np.ascontiguousarray(rows.features))

    def state(control: Control) -> str:
        return inputs.verdict(better, BASE, None, rows, control=control).state

    assert state(Control()) == "stable"
    assert state(Control(frozen=ORDER)) == "unstable"
    assert state(withdrawn) == "unstable"
    withdrawn_model(tmp_path, withdrawn.withdrawn[0]).unlink()
    assert state(withdrawn) == "unproven"
