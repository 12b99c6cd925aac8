"""Ratios taken side by side, and how they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

Measure = Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """One line of the table: `ratios` has one element a round; `goal` is what to reach."""

    question: str
    against: str
    setting: str
    ratios: tuple[float, ...]
    goal: str
    reached: bool
    note: str = ""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.ratios)

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells as text."""
        spread = f"{_short(min(self.ratios))} to {_short(max(self.ratios))}"
        verdict = "yes" if self.reached else "no"
        return (self.question, self.against, self.setting, _short(self.median), spread, self.goal, verdict, self.note)


HEADINGS = ("what", "against", "setting", "median", "spread", "goal", "reached", "note")


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def interleaved(rounds: int, ours: Measure, other: Measure) -> tuple[float, ...]:
    """Measure both in turn, `rounds` times; return ours divided by the other, round by round."""
    return tuple(ours() / other() for _ in range(rounds))


def at_least(
    question: str, against: str, setting: str, ratios: tuple[float, ...], goal: float, note: str = ""
) -> Figure:
    """Return the line of a ratio that is to be `goal` or more."""
    return Figure(
        question, against, setting, ratios, f"{goal:g} or more", statistics.median(ratios) >= goal, note
    )


def at_most(question: str, against: str, setting: str, ratios: tuple[float, ...], goal: float, note: str = "") -> Figure:
    """Return the line of a ratio that is to be `goal` or less."""
    return Figure(question, against, setting, ratios, f"{goal:g} at most", statistics.median(ratios) <= goal, note)
