"""`vmafx-sidecar status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.console.target import NOT_RUNNING, find_board, socket_option
from pipeline.runtime.health import Health, examine


@click.command(
    epilog="Exit code: 0 ingest, trainer and exporter are alive and report, 1 one of them does not, 3 not running. "
    "Example: vmafx-sidecar status --json"
)
@socket_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(socket: Path | None, as_json: bool) -> None:
    """Show what each process of a running sidecar is doing, read from shared memory."""
    health = examine(find_board(socket))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_document(health)), indent=2).decode())
    else:
        _print(health)
    raise SystemExit(0 if health.healthy else 1 if health.running else NOT_RUNNING)


def _document(health: Health) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(health)
    return {"phase": health.phase, "healthy": health.healthy, "running": health.running, **document}


def _print(health: Health) -> None:
    from rich.console import Console

    from pipeline.console import view

    console = Console()
    console.print(view.headline(health))
    console.print(view.processes(health))
    if health.trainer.metrics:
        console.print(view.figures(health))
