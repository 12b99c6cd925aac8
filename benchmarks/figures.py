"""Figures taken side by side in several rounds, and the goals they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

Measure = Callable[[], float]

HEADINGS = ("what", "against", "setting", "median", "spread", "goal", "reached", "note")


@dataclass(frozen=True)
class Figure:
    """One line of the table: `values` has one element a round; none where it could not be measured (`note` says why).

    The goal is at least or at most `goal`; None: the line is there for comparison. Values have the unit `unit`, or are
    ratios.
    """

    question: str
    against: str
    setting: str
    values: tuple[float, ...]
    goal: float | None = None
    at_least: bool = True
    unit: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none or nothing was measured."""
        if self.goal is None or not self.values:
            return None
        return self.median >= self.goal if self.at_least else self.median <= self.goal

    def with_note(self, note: str) -> Figure:
        """Return the figure with a note."""
        return replace(self, note=note)

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells as text."""
        median = spread = "-"
        if self.values:
            median = self._text(self.median)
            spread = f"{short(min(self.values))} to {self._text(max(self.values))}"
        verdict = {True: "yes", False: "no", None: "-"}[self.reached]
        return (self.question, self.against, self.setting, median, spread, self._goal_text(), verdict, self.note)

    def _goal_text(self) -> str:
        if self.goal is None:
            return "-"
        return f"{self._text(self.goal)} {'or more' if self.at_least else 'at most'}"

    def _text(self, value: float) -> str:
        return f"{short(value)} {self.unit}".rstrip()


def short(value: float) -> str:
    """Return a number in three significant digits."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def interleaved(rounds: int, ours: Measure, other: Measure) -> tuple[float, ...]:
    """Measure both in turn, `rounds` times; return ours divided by the other, round by round."""
    return tuple(ours() / other() for _ in range(rounds))


def at_least(question: str, against: str, setting: str, values: tuple[float, ...], goal: float) -> Figure:
    """Return the line of a figure that is to be `goal` or more."""
    return Figure(question, against, setting, values, goal)


def at_most(
    question: str, against: str, setting: str, values: tuple[float, ...], goal: float, unit: str = ""
) -> Figure:
    """Return the line of a figure that is to be `goal` or less."""
    return Figure(question, against, setting, values, goal, at_least=False, unit=unit)


def not_measured(question: str, against: str, setting: str, why: str) -> Figure:
    """Return the line of a figure that cannot be taken here."""
    return Figure(question, against, setting, (), note=why)
