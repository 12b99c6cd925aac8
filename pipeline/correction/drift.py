"""Whether the correction still fits: the rolling error after correction, what to do about it, and a plot of it."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.correction.captures import CorrectionError, Outcome

WINDOW = 50
"""Captures over which the error is taken; fewer are not judged."""

WARNING_RMS = 3.0
"""Score points; 6 are commonly taken for one just noticeable difference, so this is half of one."""

CRITICAL_RMS = 6.0

HARM = 0.5
"""Score points by which the corrected score may be off by more than the predicted one."""

_RETRAIN = (
    "Retrain the predictor with encodes like these and give it a new predictor version; that starts a fresh correction."
)

_HARMFUL = (
    f"Over the last {WINDOW} captures the corrected score is off by {{after:.2f}} RMS, the predicted one by "
    "{before:.2f}: what was learned from earlier content does harm here. Move the state file away to start afresh."
)


class Drift(msgspec.Struct, frozen=True):
    """The verdict on the newest captures.

    Attributes:
        level: `learning` until there are `WINDOW` captures.
        rms_before, rms_after: RMS of observed - predicted and of observed - corrected over the newest
            `WINDOW` captures, in score points; None before the first. Each capture was corrected by what
            was known before it.
        advice: what to do; None where nothing is wrong.

    """

    level: Literal["learning", "ok", "warning", "critical"]
    rms_before: float | None
    rms_after: float | None
    advice: str | None


def judge(history: Sequence[Outcome]) -> Drift:
    """Judge the newest `WINDOW` outcomes of a history."""
    newest = list(history)[-WINDOW:]
    if not newest:
        return Drift("learning", None, None, None)
    before = rms(outcome.observed - outcome.predicted for outcome in newest)
    after = rms(outcome.observed - outcome.corrected for outcome in newest)
    if len(newest) < WINDOW:
        return Drift("learning", before, after, None)
    return _verdict(before, after)


def _verdict(before: float, after: float) -> Drift:
    if after - before >= HARM:
        return Drift("warning", before, after, _HARMFUL.format(before=before, after=after))
    if after >= CRITICAL_RMS:
        return Drift("critical", before, after, f"{_finding(after, CRITICAL_RMS)} Do not rely on it. {_RETRAIN}")
    if after >= WARNING_RMS:
        return Drift("warning", before, after, f"{_finding(after, WARNING_RMS)} {_RETRAIN}")
    return Drift("ok", before, after, None)


def _finding(after: float, limit: float) -> str:
    return (
        f"Over the last {WINDOW} captures the corrected score is off by {after:.2f} RMS (limit {limit:g}): "
        "the predictor no longer fits this content."
    )


def rms(values: Iterable[float]) -> float:
    """Root of the mean square; the mean of no values does not exist."""
    squares = [value * value for value in values]
    return math.sqrt(math.fsum(squares) / len(squares))


def plot(history: Sequence[Outcome], title: str, path: Path) -> None:
    """Draw the error of each outcome before and after correction, and its rolling RMS, into a file.

    Raises:
        CorrectionError: there are no outcomes, or the file's ending names no format that can be drawn.
        OSError: the file cannot be written.
        ImportError: there is no matplotlib.

    """
    from matplotlib.figure import Figure

    if not history:
        raise CorrectionError("there is nothing to plot: no captures were recorded for this codec")
    before = [outcome.observed - outcome.predicted for outcome in history]
    after = [outcome.observed - outcome.corrected for outcome in history]
    figure = Figure(figsize=(8, 6), layout="constrained")
    errors, rolling = figure.subplots(2, sharex=True)
    errors.set(title=f"Local correction: {title}", ylabel="observed - score")
    rolling.set(xlabel="capture (the newest last)", ylabel=f"RMS over {WINDOW}")
    for values, label in ((before, "predicted"), (after, "corrected")):
        errors.plot(values, ".", markersize=3, label=label)
        rolling.plot(_rolling_rms(values), label=label)
    rolling.axhline(WARNING_RMS, color="grey", linestyle=":", label="warning")
    for axes in (errors, rolling):
        axes.legend()
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise CorrectionError(f"output {path}: {error}") from error


def _rolling_rms(values: list[float]) -> list[float]:
    return [rms(values[max(0, i - WINDOW) : i]) for i in range(1, len(values) + 1)]
