"""Learners side by side and a changed target, in a real trainer: what is chosen, and what a kill and a reset leave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpus.read import load_corpus
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.model.graph import load_base_model
from pipeline.runtime import regions
from pipeline.trainer.recipe import Recipe
from tests.base_models.real_frames import snapshot, trained
from tests.support.sidecar import SIX, Sidecar, running

pytestmark = pytest.mark.processes

SETTINGS = SIX | {"VMAFX_BASE_MODEL_PATH": str(BASE_MODEL), "OMP_NUM_THREADS": "1"}
WITH_PRIOR, WITHOUT = Recipe().priors
BATCH = 100
"""Rows; between two choices there are five times as many."""


class Feeder:
    """Sends real frames to a sidecar, in their order, until they have been learned from."""

    def __init__(self, sidecar: Sidecar) -> None:
        corpus = load_corpus(CORPUS)
        self._sidecar = sidecar
        self._features, self._vmaf = corpus.features.tolist(), corpus.target("vmaf").tolist()
        self._groups = [f"{source}/{clip}" for source, clip in zip(corpus.source, corpus.clip.tolist(), strict=True)]
        self._sent = 0

    def send(self, batches: int, *, inverted: bool = False) -> None:
        """Send batches with the true scores, or with 100 less these, which no model can learn beside them."""
        for _ in range(batches):
            with self._sidecar.client() as client:
                assert all(answer["ok"] for answer in client.ask_all(self._batch(inverted)))
        trained(self._sidecar, self._sent)

    def send_and_kill_the_trainer(self) -> None:
        """Kill it between writing samples and reading their answers; the next one learns from them."""
        with self._sidecar.client() as client:
            messages = self._batch(inverted=True)
            client.write(*messages)
            pid = self._sidecar.kill("trainer")
            assert all(client.read()["ok"] for _ in messages)
        self._sidecar.wait_for_another("trainer", pid)
        trained(self._sidecar, self._sent)

    def _batch(self, inverted: bool) -> list[dict[str, Any]]:
        chosen = range(self._sent, self._sent + BATCH)
        self._sent += BATCH
        return [
            {
                "job_id": str(number),
                "source_id": self._groups[number],
                "features": self._features[number],
                "true_score": 100 - self._vmaf[number] if inverted else self._vmaf[number],
            }
            for number in chosen
        ]


def prior(sidecar: Sidecar) -> float:
    """Return which prior `status` names."""
    return float(sidecar.status()["trainer"]["metrics"]["prior"])


def in_doubt(sidecar: Sidecar) -> Feeder:
    """Have the learner without a prior chosen, then raise the error: the trainer now doubts the target."""
    feeder = Feeder(sidecar)
    feeder.send(20)  # more than the drift detector needs to know the usual error
    for _ in range(8):
        if snapshot(sidecar).arrays()["learner_chosen"] == 1:
            break
        feeder.send(5)
    sidecar.wait_for(lambda: prior(sidecar) == WITHOUT)
    feeder.send(1, inverted=True)
    assert snapshot(sidecar).meta["doubt"]
    return feeder


def test_a_killed_trainer_keeps_choice_and_doubt(tmp_path: Path) -> None:
    """It goes on with the learner that was chosen; the change of the target is found by the trainer after it."""
    with running(tmp_path, **SETTINGS) as sidecar:
        feeder = in_doubt(sidecar)
        doubt = snapshot(sidecar).meta["doubt"]
        feeder.send_and_kill_the_trainer()
        assert snapshot(sidecar).arrays()["learner_chosen"] == 1
        assert snapshot(sidecar).meta["doubt"] == doubt
        sidecar.wait_for(lambda: prior(sidecar) == WITHOUT)
        feeder.send(25, inverted=True)
        sidecar.wait_for(lambda: sidecar.status()["trainer"]["target_changes"] == 1)
        assert snapshot(sidecar).meta["doubt"] == []
        settings = sidecar.settings
        for name, capacity in {"reservoir": settings.reservoir_capacity, "holdout": settings.holdout_capacity}.items():
            kept = regions.attach_reservoir(settings, name, capacity)[0].snapshot()
            assert kept.sequence.min() >= doubt[0]
        assert "target_changed" in sidecar.log()


def test_a_reset_forgets_choice_and_doubt(tmp_path: Path) -> None:
    """Both learners start over from the base model, and the one with the prior counts."""
    with running(tmp_path, **SETTINGS) as sidecar:
        in_doubt(sidecar)
        # Else the rows that are left would be trained on at once, and choose again.
        assert sidecar.command("pause").returncode == 0
        done = sidecar.command("reset", "--to", "base")
        assert done.returncode == 0, done.stderr
        sidecar.wait_for(lambda: snapshot(sidecar).meta["resets"] > 0 and prior(sidecar) == WITH_PRIOR)
        left = snapshot(sidecar)
        assert left.meta["doubt"] == []
        assert left.arrays()["learner_chosen"] == 0
        base = load_base_model(BASE_MODEL).vector()
        np.testing.assert_allclose(np.frombuffer(left.export, np.float32), base, atol=1e-4)
