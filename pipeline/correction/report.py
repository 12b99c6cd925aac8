"""The plot of `correct report`; the only part that needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.correction import drift
from pipeline.correction.captures import CorrectionError, Outcome


def plot(history: Sequence[Outcome], title: str, path: Path) -> None:
    """Draw the error of each outcome before and after correction, and its rolling RMS, into a file.

    Raises:
        CorrectionError: there are no outcomes, or the file's ending names no format that can be drawn.
        OSError: the file cannot be written.

    """
    if not history:
        raise CorrectionError("there is nothing to plot: no captures were recorded for this codec")
    before = [outcome.observed - outcome.predicted for outcome in history]
    after = [outcome.observed - outcome.corrected for outcome in history]
    figure = Figure(figsize=(8, 6), layout="constrained")
    errors, rolling = figure.subplots(2, sharex=True)
    errors.set(title=f"Local correction: {title}", ylabel="observed - score")
    rolling.set(xlabel="capture (the newest last)", ylabel=f"RMS over {drift.WINDOW}")
    for values, label in ((before, "predicted"), (after, "corrected")):
        errors.plot(values, ".", markersize=3, label=label)
        rolling.plot(_rolling_rms(values), label=label)
    rolling.axhline(drift.WARNING_RMS, color="grey", linestyle=":", label="warning")
    for axes in (errors, rolling):
        axes.legend()
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path)
    except ValueError as error:
        raise CorrectionError(f"output {path}: {error}") from error


def _rolling_rms(values: list[float]) -> list[float]:
    return [drift.rms(values[max(0, i - drift.WINDOW) : i]) for i in range(1, len(values) + 1)]
