"""`vmafx-sidecar logs`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.console.target import find_journals, socket_option

Event = dict[str, Any]
_LEVELS = ("debug", "info", "warning", "error", "critical")
_ALL = 100_000
_FOLLOW_S = 0.3


@click.command(epilog="Example: vmafx-sidecar logs --level warning --follow")
@socket_option
@click.option(
    "-n", "--count", type=click.IntRange(min=0), default=50, show_default=True, help="Number of events to show first."
)
@click.option("--level", type=click.Choice(_LEVELS[:4]), default="debug", help="Lowest level to show.  [default: all]")
@click.option("-f", "--follow", is_flag=True, help="Keep showing new events until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def logs(socket: Path | None, count: int, level: str, follow: bool, as_json: bool) -> None:
    """Show the newest log events of all processes, oldest first.

    They are in shared memory: also those of a sidecar that has ended, until `vmafx-sidecar clean`.
    """
    journals = find_journals(socket)
    show = _json if as_json else _printer()
    version = journals.version
    events = journals.newest(_ALL)
    wanted = _of_level(events, level)
    for event in wanted[-count:] if count else []:
        show(event)
    while follow:
        try:
            time.sleep(_FOLLOW_S)
        except KeyboardInterrupt:
            return
        if journals.version != version:
            version, before, events = journals.version, events, journals.newest(_ALL)
            for event in _of_level([event for event in events if event not in before], level):
                show(event)


def _of_level(events: Iterable[Event], level: str) -> list[Event]:
    shown = _LEVELS[_LEVELS.index(level) :]
    return [event for event in events if event.get("level") in shown]


def _json(event: Event) -> None:
    click.echo(msgspec.json.encode(event))


def _printer() -> Callable[[Event], None]:
    from rich.console import Console

    from pipeline.console import view

    console = Console(soft_wrap=True)
    return lambda event: console.print(view.event(event))
