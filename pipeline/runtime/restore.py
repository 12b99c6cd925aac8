"""At start, each owner of a region that is new fills it from the saved state."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from pipeline.config import Settings
from pipeline.runtime import saved_state
from pipeline.runtime.logs import Logger
from pipeline.runtime.reports import Board, restored
from pipeline.runtime.saved_state import SavedState
from pipeline.runtime.state_file import Rejected, StateFileError
from pipeline.shm.ring import Ring

# How long a disk that refuses to read is asked again, and how often, in seconds.
_PATIENCE_S = 3.0
_RETRY_S = 0.25

T = TypeVar("T")


class Saved:
    """The saved state, as a starting process needs it: read when it is first asked for, and then once.

    So a process whose regions are there does not wait for a disk. A read that fails is tried again for some seconds.
    """

    def __init__(self, settings: Settings, log: Logger) -> None:
        self._directory, self._n_features = settings.state_dir, settings.n_features
        self._log = log
        self._found: tuple[SavedState | None, list[Rejected]] | None = None

    @property
    def state(self) -> SavedState:
        """The newest saved state that fits the settings; an empty one where there is none."""
        try:
            state = self.newest()[0]
        except OSError:
            state = None
        if state is not None and state.n_features != self._n_features:
            self._log.error(
                "state_of_other_shape", saved_features=state.n_features, configured_features=self._n_features
            )
            state = None
        return state or SavedState(self._n_features)

    def newest(self) -> tuple[SavedState | None, list[Rejected]]:
        """Return the newest state of whatever shape, and the newer files that cannot be used.

        Raises OSError where the directory cannot be read.
        """
        if self._found is None:
            try:
                self._found = self._retried(self._load)
            except OSError:
                self._found = saved_state.load(self._directory)
            for each in self._found[1]:
                self._log.error("state_unusable", reason=each.reason)
        return self._found

    def of_base(self, base_digest: str) -> SavedState | None:
        """Return the newest state of a base model, be it the newest of all or one that is kept for it."""
        if self.state.base_digest == base_digest:
            return self.state
        try:
            return self._retried(lambda: saved_state.of_base(self._directory, base_digest))
        except (OSError, StateFileError) as error:
            self._log.error("state_unusable", reason=str(error))
            return None

    def forget(self) -> None:
        """Give up the memory that the state takes."""
        self._found = None

    def _load(self) -> tuple[SavedState | None, list[Rejected]]:
        found = saved_state.load(self._directory)
        for each in found[1]:
            if not each.is_broken:
                raise OSError(each.reason)
        return found

    def _retried(self, read: Callable[[], T]) -> T:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return read()
            except OSError as error:
                self._log.warning("state_unreadable", reason=str(error))
                if time.monotonic() >= until:
                    raise
            time.sleep(_RETRY_S)


def fill_ring(ring: Ring, saved: Saved) -> bool:
    """Fill a new ring, and let it begin; return whether there was anything to fill it with."""
    if ring.identity:
        return False
    state = saved.state
    rows = state.regions.get("ring")
    if rows is not None:
        ring.restore(rows.words, rows.count)
    ring.begin(parent=state.ring)
    return ring.head > 0


def fill_report(board: Board, role: str, saved: Saved) -> None:
    """Put back what goes on of the last report of `role`, where there is none: its counters."""
    if board.box(role).version:
        return
    report = saved.state.reports.get(role)
    payload = restored(role, report) if report is not None else None
    if payload is not None:
        board.box(role).publish(payload)
