"""When to replace the live weights by the last stable ones."""

from __future__ import annotations

import math


class RollbackPolicy:
    """Counts evaluations in a row at which the live weights were bad.

    Bad is an RMSE more than `margin` points above `factor` times that of the last stable checkpoint.
    """

    def __init__(self, patience: int = 3, factor: float = 1.5, margin: float = 1.0) -> None:
        self._patience = patience
        self._factor = factor
        self._margin = margin
        self.bad_in_a_row = 0

    def should_roll_back(self, finite: bool, live_rmse: float, stable_rmse: float) -> bool:
        """Take one evaluation of both on the same samples; return whether the live weights have to go.

        Weights that are not `finite` are replaced at once. RMSEs are NaN while there are no rows to judge on.
        """
        far_worse = live_rmse > self._factor * stable_rmse + self._margin
        overflows = math.isfinite(stable_rmse) and not math.isfinite(live_rmse)
        self.bad_in_a_row = self.bad_in_a_row + 1 if far_worse or overflows else 0
        if finite and self.bad_in_a_row < self._patience:
            return False
        self.bad_in_a_row = 0
        return True
