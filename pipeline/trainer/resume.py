"""Where a starting trainer goes on: from shared memory, else from the saved state, else from the base model."""

from __future__ import annotations

from pipeline.process import Process
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.telemetry import TrainerReport
from pipeline.trainer.handover import Handover
from pipeline.trainer.online import OnlineTraining


def resume(
    process: Process[TrainerReport],
    handover: Handover,
    training: OnlineTraining,
    ring: Ring,
    reservoir: Reservoir,
    holdout: Reservoir,
) -> None:
    """Restore `training` and, where they are new, the reservoirs."""
    snapshot = handover.left_in_memory()
    source = "shared memory"
    if snapshot is None:
        process.log.info("cold_start", cursor=training.cursor)
        return
    handover.adopt(snapshot)
    if training.cursor > ring.head:
        # The ring began anew without the samples that were trained on: all that it holds is new.
        process.log.warning("ring_behind", cursor=training.cursor, head=ring.head)
        training.cursor = ring.oldest
    process.log.info("resumed", source=source, step=training.total_steps, cursor=training.cursor)
