"""At start, each owner of a region that is empty fills it from the saved state."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from pipeline.config import Settings
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.state import savedstate
from pipeline.state.savedstate import SavedState
from pipeline.telemetry import Board, restored


def load(settings: Settings, log: FilteringBoundLogger) -> SavedState:
    """Return the newest saved state that fits the settings; an empty one where there is none."""
    try:
        state, rejected = savedstate.load(settings.state_dir)
    except OSError as error:
        log.error("state_unreadable", reason=str(error))
        return SavedState(settings.n_features)
    for each in rejected:
        log.error("state_unusable", reason=each.reason)
    if state is not None and state.n_features != settings.n_features:
        log.error("state_of_other_shape", saved_features=state.n_features, configured_features=settings.n_features)
        state = None
    return state or SavedState(settings.n_features)


def fill_ring(ring: Ring, state: SavedState) -> bool:
    """Fill an empty ring; return whether there was anything to fill it with."""
    saved = state.regions.get("ring")
    if ring.head or saved is None or not saved.count:
        return False
    ring.restore(saved.words, saved.count)
    return True


def fill_reservoir(reservoir: Reservoir, name: str, state: SavedState) -> bool:
    """Fill an empty reservoir; return whether there was anything to fill it with."""
    saved = state.regions.get(name)
    if len(reservoir) or saved is None or not len(saved.words):
        return False
    reservoir.restore(saved.words, saved.count)
    return True


def fill_report(board: Board, role: str, state: SavedState) -> None:
    """Put back what goes on of the last report of `role`: its counters."""
    payload = restored(role, state.reports[role]) if role in state.reports else None
    if payload is not None:
        board.box(role).publish(payload)
