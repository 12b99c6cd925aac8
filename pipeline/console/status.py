"""`vmafx-sidecar status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from pipeline.console.target import NOT_RUNNING, find_board, socket_option
from pipeline.health import Health, examine
from pipeline.telemetry import ROLES


@click.command(
    epilog="Exit code: 0 all well, 1 something is wrong, 3 not running. Example: vmafx-sidecar status --json"
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
    return {"healthy": health.healthy, "running": health.running, **document}


def _print(health: Health) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("process", "phase", "pid", "restarts", "heartbeat", "what", title_justify="left")
    for role in ROLES:
        state = health.roles[role]
        age = "-" if state.heartbeat_age == float("inf") else f"{state.heartbeat_age:.1f} s ago"
        style = "green" if state.progressing else "red" if role != "monitor" else "yellow"
        what = "\n".join(filter(None, [_summary(role, health), state.problem]))
        table.add_row(role, f"[{style}]{state.phase}[/]", str(state.pid or "-"), str(state.restarts), age, what)
    Console().print(table)


def _summary(role: str, health: Health) -> str:
    if role == "ingest":
        ingest = health.ingest
        refused = sum(ingest.rejected.values())
        return (
            f"{ingest.accepted:,} samples, {ingest.resent:,} resent, {refused:,} refused, {ingest.connections} clients"
        )
    if role == "trainer":
        trainer = health.trainer
        model = trainer.base_model or "no base model yet"
        loss = "" if trainer.loss is None else f", loss {trainer.loss:.4g}"
        return f"step {trainer.step:,}, lag {trainer.lag:,}{loss}\n{model} on {trainer.device or 'no device yet'}"
    if role == "exporter":
        exporter = health.exporter
        if not exporter.version:
            return "no checkpoint yet"
        when = time.strftime("%H:%M:%S", time.localtime(exporter.checkpoint_at))
        return (
            f"version {exporter.version} ({exporter.latest_state}) at {when}, stable: {exporter.stable_version or '-'}"
        )
    return health.monitor.http
