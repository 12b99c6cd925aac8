"""Shows on a terminal how far a sender is; nothing elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.text import Text

from pipeline.libvmaf.sender import Sender


class _SoFar(ProgressColumn):
    def __init__(self, sender: Sender) -> None:
        super().__init__()
        self._sender = sender
        self._began = time.monotonic()

    def render(self, task: Task) -> Text:
        del task
        counts, client = self._sender.counts, self._sender.client
        rate = client.delivered() / max(0.1, time.monotonic() - self._began)
        return Text(
            f"{counts.logs:,} logs, {counts.samples:,} samples, {client.delivered():,} accepted ({rate:,.0f} a second)"
        )


@contextmanager
def shown(sender: Sender) -> Iterator[None]:
    """Show it for as long as the block lasts."""
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(), _SoFar(sender), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        bar.add_task("send", total=None)
        yield
