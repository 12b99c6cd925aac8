"""Detects that the error of the predictions has risen: the Page-Hinkley test (Page 1954; Hinkley 1971)."""

from __future__ import annotations


class PageHinkley:
    """Tells when the mean of a sequence rises.

    It sums by how much each value exceeds the running mean and the tolerance, each in standard deviations of the
    sequence so far; when the sum is `threshold` above its minimum, the mean has risen, and the test starts over.
    The first `burn_in` values only make the mean. Mean and deviation forget: they weigh a value by how long ago it was,
    over about `memory` of them, so that neither the high errors of the first hours nor a long history
    hides a rise.
    """

    def __init__(self, threshold: float = 50.0, tolerance: float = 0.5, burn_in: int = 100, memory: int = 500) -> None:
        self._threshold = threshold
        self._tolerance = tolerance
        self._burn_in = burn_in
        self._memory = memory
        self.detected = 0
        self._restart()

    def _restart(self) -> None:
        self._count, self._mean, self._variance, self._excess = 0, 0.0, 0.0, 0.0

    def add(self, value: float) -> bool:
        """Add a finite value; return whether the mean has just been found to have risen."""
        deviation = self._variance**0.5
        if self._count >= self._burn_in and deviation > 0:
            # The sum above its minimum, kept directly: it cannot fall below zero.
            self._excess = max(0.0, self._excess + (value - self._mean) / deviation - self._tolerance)
        if self._excess > self._threshold:
            self.detected += 1
            self._restart()
            return True
        self._count += 1
        share = 1 / min(self._count, self._memory)
        step = value - self._mean
        self._mean += share * step
        self._variance += share * (step * (value - self._mean) - self._variance)
        return False

    def state(self) -> list[float]:
        """Return all that the next answer depends on."""
        return [self._count, self._mean, self._variance, self._excess, self.detected]

    def restore(self, state: list[float]) -> None:
        """Continue from `state`."""
        count, self._mean, self._variance, self._excess, detected = state
        self._count, self.detected = int(count), int(detected)
