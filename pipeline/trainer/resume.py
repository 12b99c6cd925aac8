"""Where a starting trainer goes on: from shared memory, else from the saved state, else from the base model."""

from __future__ import annotations

import msgspec

from pipeline import handoff
from pipeline.handoff import TrainerSnapshot
from pipeline.process import Process
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.state import resume as saved_state
from pipeline.state.savedstate import SavedState
from pipeline.telemetry import TrainerReport
from pipeline.trainer.handover import Handover
from pipeline.trainer.online import OnlineTraining


def resume(
    process: Process[TrainerReport],
    handover: Handover,
    training: OnlineTraining,
    ring: Ring,
    reservoirs: dict[str, Reservoir],
) -> None:
    """Fill empty reservoirs, restore `training`, and say where it goes on."""
    state = saved_state.load(process.settings, process.log)
    for name, reservoir in reservoirs.items():
        saved_state.fill_reservoir(reservoir, name, state)
    snapshot = handover.left_in_memory()
    source = "shared memory"
    if snapshot is None:
        snapshot = _saved(state, handover, process)
        source = "saved state"
    if snapshot is None:
        process.log.info("cold_start")
        return
    handover.adopt(snapshot)
    if training.cursor > ring.head:
        # The ring began anew without the samples that were trained on: all that it holds is new.
        process.log.warning("ring_behind", cursor=training.cursor, head=ring.head)
        training.cursor = ring.oldest
    process.log.info("resumed", source=source, step=training.total_steps, cursor=training.cursor)


def _saved(state: SavedState, handover: Handover, process: Process[TrainerReport]) -> TrainerSnapshot | None:
    if state.snapshot is None:
        return None
    try:
        snapshot = handoff.decode_snapshot(state.snapshot)
    except msgspec.MsgspecError as error:
        process.log.error("state_unusable", reason=str(error))
        return None
    if handover.is_ours(snapshot):
        return snapshot
    process.log.error("state_of_other_base_model", saved=snapshot.base_digest[:12])
    return None
