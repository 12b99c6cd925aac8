"""How much processor time replay may take."""

from __future__ import annotations

import time


class CpuBudget:
    """A token bucket in processor seconds: it fills at `share` cores and is emptied by what this process uses.

    The bucket holds two seconds' worth: a burst of samples is learned from at once, and the sustained share holds.
    Steps that train on new samples are taken whatever the budget says; only replay waits for it.
    """

    _DEPTH_S = 2.0
    _MEASURE_S = 10.0

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = share * self._DEPTH_S
        self._wall, self._cpu = time.monotonic(), time.process_time()
        self._since, self._cpu_since = self._wall, self._cpu
        self.used_share = 0.0

    def allows_replay(self) -> bool:
        """Account for what was used since the last call; return whether anything is left."""
        wall, cpu = time.monotonic(), time.process_time()
        self._tokens += (wall - self._wall) * self._share - (cpu - self._cpu)
        self._tokens = min(max(self._tokens, -self._share * self._DEPTH_S), self._share * self._DEPTH_S)
        self._wall, self._cpu = wall, cpu
        if wall - self._since >= self._MEASURE_S:
            self.used_share = (cpu - self._cpu_since) / (wall - self._since)
            self._since, self._cpu_since = wall, cpu
        return self._tokens > 0
