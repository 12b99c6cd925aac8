"""Tells a change of the target from new content, once the error has risen.

New content can be learned beside what is remembered. After a change of the target it cannot: the same features have
other scores, and while the model is trained on both it stays wrong about the new rows, or becomes so about the old.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.model.accuracy import MIN_GROUPS

_FIRST_LOOK = 2000
_LOOK_EVERY = 1000
_GIVE_UP = 10_000
_MOST, _FEW = 0.75, 0.25
_MARGIN = 1.0

Errors = NDArray[np.float32]
"""Absolute errors in score points, float32[n]."""


class TargetChange:
    """A doubt that begins when the error rises, is looked into as rows come, and ends.

    since   sequence of the first row after the rise; None: there is no doubt
    """

    def __init__(self) -> None:
        self.since: int | None = None
        self._looked_at = 0
        self._usual = 0.0

    def begin(self, sequence: int, before: Errors) -> None:
        """Say that the error had risen before the row `sequence`, from those `before`.

        A doubt that has not been looked into goes on.
        """
        if len(before) and (self.since is None or sequence >= self.since + _FIRST_LOOK):
            self.since, self._looked_at = sequence, sequence + _FIRST_LOOK - _LOOK_EVERY
            self._usual = float(np.quantile(before, _MOST))

    def end(self) -> None:
        """Look no further."""
        self.since = None

    def is_due(self, cursor: int) -> bool:
        """Tell whether, all rows before `cursor` observed, there is something to look into; give up after 10,000."""
        if self.since is None:
            return False
        if not self.since <= cursor <= self.since + _GIVE_UP:
            self.end()
            return False
        due = cursor >= self._looked_at + _LOOK_EVERY
        if due:
            self._looked_at = cursor
        return due

    def is_certain(self, new: Errors, remembered: Errors, held_out_groups: int) -> bool:
        """Tell whether rows since the rise have another target than those remembered from before.

        Three quarters of the one or of the other have to be wrong by a point more than three quarters were before the
        rise: one client of several with wrong scores is not enough, however large its errors. And as many groups as
        the gate needs have to be held out since, to go on with alone.
        """
        if not len(new) or not len(remembered) or held_out_groups < MIN_GROUPS:
            return False
        wrong = max(np.quantile(new, _FEW), np.quantile(remembered, _FEW))
        return bool(wrong > self._usual + _MARGIN)

    def state(self) -> list[float]:
        """Return all that the next answer depends on."""
        return [] if self.since is None else [self.since, self._looked_at, self._usual]

    def restore(self, state: list[float]) -> None:
        """Continue from `state`."""
        self.since = None
        if state:
            self.since, self._looked_at, self._usual = int(state[0]), int(state[1]), state[2]
