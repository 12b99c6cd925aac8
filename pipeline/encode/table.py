"""The table that grows while the loop runs, and what it comes to in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.encode.loop import Outcome, Prediction

Write = Callable[[str], None]
_STAGES = 4


class Table:
    """Writes the first half of a line when an encode is predicted, and the second when it is measured."""

    def __init__(self, target: str, write: Write) -> None:
        self.outcomes: list[Outcome] = []
        self._write = write
        write(f"{'encode':<28}{'by':<18}{'predicted':>10}{target:>12}{'off by':>9}{'base off by':>13}\n")

    def predicted(self, prediction: Prediction) -> None:
        """Show what is expected of an encode."""
        name = f"{prediction.pair.source} {prediction.pair.label}"
        self._write(f"{name:<28}{prediction.model:<18}{prediction.score:>10.2f}")

    def measured(self, outcome: Outcome) -> None:
        """Show what it came to."""
        self.outcomes.append(outcome)
        self._write(f"{outcome.measured:>12.2f}{outcome.error:>9.2f}{outcome.base_error:>13.2f}\n")


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """Return lines on the error of predictions that were made before the measurement, early and late."""
    stages = [stage for stage in np.array_split(np.arange(len(outcomes)), _STAGES) if len(stage)]
    lines = [f"{'encodes':<28}{'RMSE of predictions':>22}{'of the base model':>20}"]
    for stage in stages:
        chosen = [outcomes[place] for place in stage]
        errors = (_rms([each.error for each in chosen]), _rms([each.base_error for each in chosen]))
        lines.append(f"{f'{stage[0] + 1} to {stage[-1] + 1}':<28}{errors[0]:>22.2f}{errors[1]:>20.2f}")
    return lines


def _rms(errors: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))
