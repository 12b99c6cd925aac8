"""What the demo shows while it runs: a live panel on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

LINE_EVERY_S = 5.0


@dataclass(frozen=True)
class Moment:
    """Where the demo is: seconds of stream, the sidecar's counters, and the models' error on unseen sources."""

    elapsed: float
    total: float
    samples: int
    step: int
    checkpoints: int
    model: str
    live_rmse: float
    base_rmse: float

    def __str__(self) -> str:
        return (
            f"{self.elapsed:3.0f} s  samples {self.samples:6,}  step {self.step:7,}  checkpoints {self.checkpoints}  "
            f"node uses {self.model}  RMSE on unseen sources {self.live_rmse:.2f} (base {self.base_rmse:.2f})"
        )


class Screen(AbstractContextManager["Screen"]):
    """A panel on ``console`` where that is a terminal, else a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def update(self, elapsed: float, panel: Callable[[], Table], line: Callable[[], str]) -> None:
        """Show where a demo is after ``elapsed`` seconds, in whichever way there is."""
        if self._live:
            self._live.update(panel())
        elif elapsed >= self._next_line:
            self._next_line = elapsed + LINE_EVERY_S
            self.say(line())


class Display(Screen):
    """Shows moments."""

    def show(self, moment: Moment) -> None:
        """Show where the demo is."""
        self.update(moment.elapsed, lambda: _panel(moment), lambda: str(moment))


def _panel(moment: Moment) -> Table:
    panel = Table.grid(padding=(0, 2))
    panel.add_row("stream", ProgressBar(moment.total, min(moment.elapsed, moment.total), width=40))
    panel.add_row("samples in", f"{moment.samples:,}")
    panel.add_row("trainer step", f"{moment.step:,}")
    panel.add_row("checkpoints", f"{moment.checkpoints}, the node uses [bold]{escape(moment.model)}[/bold]")
    panel.add_row(
        "RMSE on unseen sources", f"[bold]{moment.live_rmse:.2f}[/bold], the base model's is {moment.base_rmse:.2f}"
    )
    return panel
