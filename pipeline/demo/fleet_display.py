"""What the fleet's demo shows while it runs: a line for the pool and each sidecar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipeline.demo.display import Screen


@dataclass(frozen=True)
class Line:
    """One of the fleet: its counters, which model is its newest stable one, and that one's error on unseen sources."""

    name: str
    samples: int
    shared: int
    step: int
    model: str
    rmse: float


class FleetDisplay(Screen):
    """Shows lines."""

    def show(self, elapsed: float, total: float, lines: Sequence[Line]) -> None:
        """Show where the demo is after so many seconds of `total`."""
        self.update(elapsed, lambda: _panel(elapsed, total, lines), lambda: _line(elapsed, lines))


def _line(elapsed: float, lines: Sequence[Line]) -> str:
    models = "  ".join(f"{line.name} {line.samples:,}: {line.rmse:.2f}" for line in lines)
    return f"{elapsed:3.0f} s  samples and RMSE on unseen sources: {models}"


def _panel(elapsed: float, total: float, lines: Sequence[Line]) -> Table:
    members = Table("", "samples", "shared", "step", "newest stable model", "RMSE on unseen sources")
    for line in lines:
        shared = f"{line.shared:,}" if line.shared else ""
        members.add_row(
            escape(line.name), f"{line.samples:,}", shared, f"{line.step:,}", escape(line.model), f"{line.rmse:.2f}"
        )
    panel = Table.grid()
    panel.add_row(ProgressBar(total, min(elapsed, total), width=80))
    panel.add_row(members)
    return panel
