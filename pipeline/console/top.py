"""`vmafx-sidecar top`."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console.target import find_board, find_journals, socket_option
from pipeline.runtime.health import examine

if TYPE_CHECKING:
    from rich.console import Group

    from pipeline.runtime.journal import Journals
    from pipeline.runtime.reports import Board

_EVENTS = 8


@click.command(epilog="Example: vmafx-sidecar top --interval 0.5")
@socket_option
@click.option(
    "--interval", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Seconds between updates."
)
def top(socket: Path | None, interval: float) -> None:
    """Show a running sidecar live, until Ctrl-C: processes, the models' error, the newest log events."""
    if not sys.stdout.isatty():
        raise click.ClickException("top needs a terminal; `vmafx-sidecar status` prints the same once")
    from rich.live import Live

    board, journals = find_board(socket), find_journals(socket)
    with contextlib.suppress(KeyboardInterrupt), Live(_look(board, journals), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            live.update(_look(board, journals), refresh=True)


def _look(board: Board, journals: Journals) -> Group:
    from rich.console import Group

    from pipeline.console import view

    health = examine(board)
    events = [view.event(fields) for fields in journals.newest(_EVENTS)]
    return Group(view.headline(health), view.processes(health), view.figures(health), *events)
