"""Subjective scores of messages: what is learned with VMAFX_SIDECAR_TARGET=ground_truth_score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from pipeline.protocol import OpinionSample, Refusal, Sample


class Opinions:
    """Brings the `ground_truth_score` of messages from their scale to 0..100.

    A message without one is refused rather than stored: `ok: true` says that a sample is in the ring, and a sample that
    cannot be learned would push one out that can. Most messages of a node may be like that.
    """

    def __init__(self, scale: tuple[float, float]) -> None:
        """Take the lowest and the highest grade of the scale."""
        self._low, self._high = scale
        self._expected = f"expected a number from {self._low:g} to {self._high:g}"

    def scores(self, samples: Iterable[Sample]) -> list[float]:
        """Return the scores of samples, which are OpinionSamples, from 0 to 100. Raises Refusal where one has none."""
        return [self._score(cast(OpinionSample, sample).ground_truth_score) for sample in samples]

    def _score(self, grade: float | None) -> float:
        if grade is None:
            why = "VMAFX_SIDECAR_TARGET says that it is learned"
            raise Refusal("no_ground_truth", f"ground_truth_score: missing, {self._expected}: {why}")
        if not self._low <= grade <= self._high:
            raise Refusal("score_out_of_range", f"ground_truth_score: {self._expected}, not {grade:g}")
        return 100 * (grade - self._low) / (self._high - self._low)
