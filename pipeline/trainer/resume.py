"""Where a starting trainer goes on: from shared memory, else from the saved state, else from the base model.

What was learned from one base model is not used with another. If the base model has changed since the last start, its
own state is taken, if it was trained here before, and training continues with new samples only: older rows may have
other features or another target. VMAFX_SIDECAR_KEEP_ROWS_ACROSS_BASES says that they have not; then rows stay,
and only the weights change.
"""

from __future__ import annotations

import msgspec

from pipeline.runtime.messages import TrainerSnapshot, lineage_of
from pipeline.runtime.process import Process
from pipeline.runtime.reports import TrainerReport
from pipeline.runtime.saved_state import SavedState
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.trainer.online import OnlineTraining
from pipeline.trainer.snapshot_publisher import SnapshotPublisher


def resume(
    process: Process[TrainerReport],
    publisher: SnapshotPublisher,
    training: OnlineTraining,
    ring: Ring,
    reservoirs: dict[str, Reservoir],
) -> None:
    """Take over the rows of this base model's training, restore `training`, and say where it goes on."""
    lineage = lineage_of(publisher.base_digest)
    last = publisher.left or _snapshot(process.saved.state, process)
    if last is not None:
        changed = not publisher.is_ours(last)
    else:
        changed = any(reservoir.lineage not in {0, lineage} for reservoir in reservoirs.values())
    ours = None if changed else last
    if ours is None or any(reservoir.lineage != lineage for reservoir in reservoirs.values()):
        own = process.saved.of_base(publisher.base_digest)
        ours = ours or _snapshot(own, process)
        _take_over(reservoirs, lineage, own, process)
    first = last is None and not changed and not any(map(len, reservoirs.values()))
    cursor, start = (0, 0) if first else _place(ring, last, fresh=changed and not process.settings.keep_rows)
    if ours is None:
        training.begin(cursor, start)
    else:
        publisher.adopt(ours, cursor, start)
    report = process.report
    report.start, report.restored = start, ring.restored
    if changed:
        report.base_before = last.base_digest[:12] if last is not None else "unknown"
        kept = "kept" if process.settings.keep_rows else "set aside"
        process.log.warning("base_changed", before=report.base_before, from_sample=start, rows=kept)
    elif last is not None and cursor != last.samples:
        training.evicted_untrained += max(0, cursor - last.samples)
        process.log.warning("ring_differs", trained_up_to=last.samples, goes_on_at=cursor)
    if ours is None:
        process.log.info("cold_start", cursor=cursor)
    else:
        source = "shared memory" if ours is publisher.left else "saved state"
        process.log.info("resumed", source=source, step=training.total_steps, cursor=cursor)
    process.saved.forget()


def base_note(report: TrainerReport) -> str:
    """Return the note on a change of the base model, shown until there is a stable checkpoint of the new one."""
    if not report.base_before:
        return ""
    return f"another base model (before: {report.base_before}); it learns from sample {report.start:,} on"


def _take_over(
    reservoirs: dict[str, Reservoir], lineage: int, own: SavedState | None, process: Process[TrainerReport]
) -> None:
    """Make all reservoirs those of `lineage`: with the rows that were saved of it, or those that are to be kept."""
    keep = process.settings.keep_rows
    saved = (process.saved.state if keep else own) or SavedState(process.settings.n_features)
    for name, reservoir in reservoirs.items():
        rows = saved.regions.get(name)
        if reservoir.lineage == lineage or (keep and reservoir.lineage):
            reservoir.claim(lineage)
        elif rows is not None:
            reservoir.restore(rows.words, rows.count, lineage)
        else:
            reservoir.empty(lineage)


def _place(ring: Ring, last: TrainerSnapshot | None, *, fresh: bool) -> tuple[int, int]:
    """Return where in the ring to go on, and from where on its rows may be used.

    `fresh`: nowhere before what is new. Without the snapshot of the life before, what the reservoirs hold is not
    offered to them again.
    """
    if last is None:
        return ring.head, ring.head
    if fresh:
        new = ring.position(last.ring, ring.head)
        return new, new
    return ring.position(last.ring, last.samples), ring.position(last.ring, last.start)


def _snapshot(state: SavedState | None, process: Process[TrainerReport]) -> TrainerSnapshot | None:
    try:
        return state.trained() if state is not None else None
    except msgspec.MsgspecError as error:
        process.log.error("state_unusable", reason=str(error))
        return None
