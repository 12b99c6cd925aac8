"""Subjective scores: a mean opinion score of a whole clip, brought to the 0..100 of all other scores.

The rule is the straight line that takes the lowest grade of the scale to 0 and the highest to 100; the five grades of
ITU-T P.910, 1 to 5, become 0, 25, 50, 75 and 100.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SUBJECTIVE = ("mos", "ground_truth_score")
"""Columns with a subjective score."""

Scale = tuple[float, float]
"""Its lowest and its highest grade."""

FIVE_GRADES: Scale = (1.0, 5.0)
HUNDRED: Scale = (0.0, 100.0)


def to_hundred(mos: npt.NDArray[np.float32], scale: Scale) -> npt.NDArray[np.float32]:
    """Return scores [n] of a scale as 0..100; NaN stays. ValueError names the first row that is outside the scale."""
    low, high = scale
    outside = np.flatnonzero((mos < low) | (mos > high))
    if len(outside):
        raise ValueError(f"row {outside[0]}: {mos[outside[0]]:g} is outside the scale {low:g}-{high:g}")
    scaled: npt.NDArray[np.float32] = (100 * ((mos.astype(np.float64) - low) / (high - low))).astype(np.float32)
    return scaled


def from_hundred(score: float, scale: Scale) -> float:
    """Return what a score from 0 to 100 is on a scale."""
    low, high = scale
    return low + score / 100 * (high - low)


def per_clip(mos: npt.NDArray[np.float32], clip: npt.NDArray[np.int64], scale: Scale) -> npt.NDArray[np.float32]:
    """Return the scores [n] as 0..100; ValueError where one is outside the scale, or a clip has several.

    A clip of which some frames have the score and others have none (NaN) has it in all of them.
    """
    scaled = to_hundred(mos, scale)
    _, number = np.unique(clip, return_inverse=True)
    known = np.flatnonzero(np.isfinite(scaled))
    of_clip = np.full(number.max(initial=-1) + 1, np.nan, np.float32)
    of_clip[number[known]] = scaled[known]
    spread: npt.NDArray[np.float32] = of_clip[number]
    unlike = known[scaled[known] != spread[known]]
    if len(unlike):
        raise ValueError(f"row {unlike[0]}: clip {clip[unlike[0]]} has several scores, expected one a clip")
    return spread
