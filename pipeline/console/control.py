"""`vmafx-sidecar export` and `clean`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import click

from pipeline import regions
from pipeline.console.target import find_board, find_instance, socket_option
from pipeline.health import examine
from pipeline.shm.segment import SHM_DIR, SegmentError


@click.command(epilog="Example: vmafx-sidecar export && vmafx-sidecar checkpoints")
@socket_option
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for it.")
def export(socket: Path | None, timeout: float) -> None:
    """Have a checkpoint written now, whatever interval and sample count say; wait until it is there."""
    board = find_board(socket)
    before = examine(board)
    if not before.roles["exporter"].alive:
        raise click.ClickException("the exporter is not running")
    failures = sum(before.exporter.failures.values())
    os.kill(before.exporter.pid, signal.SIGUSR1)
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        now = board.exporter()
        if now.version > before.exporter.version:
            click.echo(now.latest)
            return
        if sum(now.failures.values()) > failures:
            raise click.ClickException(f"the export failed: {now.problem}")
        time.sleep(0.02)
    raise click.ClickException(f"no checkpoint within {timeout:g} s: {board.exporter().problem or 'see the log'}")


@click.command(epilog="Example: vmafx-sidecar clean --socket /run/vmafx/sidecar.sock")
@socket_option
@click.option("--all", "everything", is_flag=True, help="Clean up after every dead sidecar on this machine.")
def clean(socket: Path | None, everything: bool) -> None:
    """Remove what a dead sidecar left in shared memory. Refused while one of its processes is alive.

    Saved state and checkpoints on disk stay.
    """
    names = regions.instances() if everything else [find_instance(socket)]
    for instance in names:
        alive = _alive(instance)
        if alive:
            message = f"instance {instance} is running ({', '.join(alive)}); stop it first"
            if not everything:
                raise click.ClickException(message)
            click.echo(message, err=True)
            continue
        for leftover in regions.leftovers(instance):
            _remove(SHM_DIR / leftover)
            click.echo(f"removed {SHM_DIR / leftover}")


def _alive(instance: str) -> list[str]:
    try:
        health = examine(regions.attach_board(instance))
    except SegmentError:
        return []
    return [role for role, state in health.roles.items() if state.alive]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
