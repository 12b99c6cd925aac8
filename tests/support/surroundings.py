"""The other processes as the exporter sees them: regions with a base model, weights, held-out rows and samples."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt

from pipeline.config import Settings, load
from pipeline.model.graph import BaseModel
from pipeline.model.runtime import OnnxModel
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import ServedModel, TrainerSnapshot
from pipeline.runtime.reports import Board, IngestReport, Reporter, TrainerReport
from pipeline.shm import segment
from pipeline.shm.rows import RowBatch, row_words
from tests.support.checkpoints import small_model
from tests.support.rows import append

N_FEATURES = 6


def settings_for(directory: Path, instance: str, **changes: str) -> dict[str, str]:
    """Return an environment for an exporter of this test's own."""
    return {
        "VMAFX_SIDECAR_INSTANCE": instance,
        "VMAFX_SIDECAR_CHECKPOINT_DIR": str(directory),
        "VMAFX_SIDECAR_SOCKET": "/nowhere/socket",
        "VMAFX_SIDECAR_N_FEATURES": str(N_FEATURES),
        "VMAFX_SIDECAR_REPLAY_CAPACITY": "256",
        "VMAFX_SIDECAR_RESERVOIR_CAPACITY": "256",
        "VMAFX_SIDECAR_HOLDOUT_CAPACITY": "1024",
        "VMAFX_SIDECAR_CKPT_INTERVAL_S": "0",
        "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "10",
        "VMAFX_SIDECAR_STATE_INTERVAL_S": "3600",
        **changes,
    }


class Surroundings:
    """Owns every region that an exporter reads, and writes them as ingest and trainer would."""

    def __init__(self, environ: dict[str, str], base: BaseModel | None = None) -> None:
        self.settings: Settings = load(environ)
        self.base = base or small_model()
        self.board: Board = regions.open_board(self.settings)
        self._ingest = Reporter(self.board, "ingest", IngestReport)
        self._trainer = Reporter(self.board, "trainer", TrainerReport)
        self.ring, _ = regions.own_ring(self.settings)
        self.ring.begin()
        self.reservoir, _ = regions.own_reservoir(self.settings, "reservoir", self.settings.reservoir_capacity)
        self.holdout, _ = regions.own_reservoir(self.settings, "holdout", self.settings.holdout_capacity)
        self._model, _ = regions.own_mailbox(self.settings, "model", 1 << 16)
        self.serve(self.base)
        self._weights, _ = regions.own_mailbox(self.settings, "weights", 1 << 16)
        self.set_ingest_phase("accepting")

    def serve(self, base: BaseModel) -> None:
        """Have the trainer serve a base model."""
        self.base = base
        served = messages.encode(ServedModel(name=base.name, digest=base.digest, onnx=base.serialized))
        self._model.publish(served)

    def set_ingest_phase(self, phase: str) -> None:
        """Have ingest report a phase."""
        self._ingest.report.phase = phase
        self._ingest.publish()

    def report_cursor(self, cursor: int) -> None:
        """Have the trainer report how many samples it has taken in."""
        self._trainer.report.cursor = cursor
        self._trainer.publish()

    def feed(self, count: int, score: float = 50.0) -> None:
        """Accept samples into the ring."""
        for _ in range(count):
            append(self.ring, 1, self.ring.head, score, [0.5] * N_FEATURES)

    def hold_out(self, model: bytes, groups: int = 10, rows: int = 20) -> None:
        """Fill the held-out reservoir with rows that `model` scores without error."""
        rng = np.random.default_rng(0)
        batch = RowBatch.over(np.zeros((groups * rows, row_words(N_FEATURES)), np.float32), N_FEATURES)
        batch.features[:] = rng.normal(0, 20, batch.features.shape)
        batch.score[:] = OnnxModel(model).predict(np.ascontiguousarray(batch.features))
        batch.group[:] = np.repeat(np.arange(groups), rows)
        self.holdout.offer(batch, Random(0))

    def train(
        self, weights: npt.NDArray[np.float32], step: int, *, error: float = 0.0, digest: str = "", probe: bytes = b""
    ) -> None:
        """Publish weights as the trainer does; its probe scores are off by `error`, its probe may be no rows at all."""
        rows = np.random.default_rng(1).normal(0, 1, (8, N_FEATURES)).astype(np.float32)
        scores = OnnxModel(self.base.with_weights(np.nan_to_num(weights))).predict(rows) + np.float32(error)
        snapshot = TrainerSnapshot(
            step=step,
            samples=self.ring.head,
            base_digest=digest or self.base.digest,
            n_features=N_FEATURES,
            export=weights.tobytes(),
            probe=probe or rows.tobytes(),
            probe_scores=scores.tobytes(),
            meta={"step": step},
            vectors={},
            ring=self.ring.identity,
        )
        for reservoir in (self.reservoir, self.holdout):
            reservoir.claim(messages.lineage_of(snapshot.base_digest))
        self._weights.publish(messages.encode(snapshot))
        self._trainer.report.cursor = self.ring.head
        self._trainer.report.step = step
        self._trainer.publish()

    def discard(self) -> None:
        """Remove the regions."""
        for leftover in regions.leftovers(self.settings.instance_name):
            segment.remove(leftover)
