"""`vmafx-sidecar export`, `clean` and `reset`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import click

from pipeline.console import parameters
from pipeline.console.orders import settings_for, start_over
from pipeline.console.target import find_board, find_instance, settings_of, socket_option
from pipeline.runtime import kernel, regions, saved_state
from pipeline.runtime.health import examine
from pipeline.runtime.locks import DirectoryTaken, held
from pipeline.shm.segment import SHM_DIR


@click.command(epilog="Example: vmafx-sidecar export && vmafx-sidecar checkpoints")
@socket_option
@click.option("--timeout", default=30.0, show_default=True, help="Maximum seconds to wait.")
def export(socket: Path | None, timeout: float) -> None:
    """Write a checkpoint now, without regard to interval and sample count, and wait for it."""
    board = find_board(socket)
    before = examine(board)
    if not before.roles["exporter"].alive:
        raise click.ClickException("the exporter is not running")
    failures = sum(before.exporter.failures.values())
    try:
        kernel.send(before.exporter.pid, before.exporter.born, signal.SIGUSR1)
    except OSError as error:
        raise click.ClickException(f"the exporter is not running: {error}") from None
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
    for instance in regions.with_leftovers() if everything else [find_instance(socket)]:
        try:
            _clean(instance)
        except click.ClickException as error:
            if not everything:
                raise
            click.echo(error.format_message(), err=True)


@click.command(epilog="Example: VMAFX_SIDECAR_CHECKPOINT_DIR=/models vmafx-sidecar reset")
@socket_option
@click.option(
    "--to", metavar="base|latest-stable|VERSION", help="Start training over from these weights, also while it runs."
)
@click.option("--forget-samples", is_flag=True, help="With --to: forget ring, reservoir and held-out samples as well.")
@click.option("--reason", default="", callback=parameters.text, help="With --to: why; kept in the history.")
def reset(socket: Path | None, to: str | None, forget_samples: bool, reason: str) -> None:
    """Start training over: with --to from given weights, otherwise a stopped sidecar from nothing.

    With --to: weights, optimizer, average and drift start over from the base model or from a checkpoint. Samples stay.

    Without --to, a stopped sidecar starts from the base model again, without samples: this removes what it has in
    shared memory, and sets its saved state aside in `state/before-reset`. Checkpoints and the learning curve stay.
    Refused while one of its processes is alive.
    """
    if to is not None:
        from pipeline.checkpoints.version import Version

        meant = to if to == "base" else Version().convert(to, None, None)
        went = start_over(settings_for(socket), meant, forget_samples=forget_samples, reason=reason)
        click.echo(f"training starts over from {went}; samples are {'forgotten' if forget_samples else 'kept'}")
        return
    if forget_samples or reason:
        raise click.UsageError("--forget-samples and --reason belong to --to")
    settings = settings_of(socket)
    try:
        with held(settings.checkpoint_dir):
            _clean(settings.instance_name)
            aside = saved_state.set_all_aside(settings.state_dir)
            for path in aside:
                click.echo(f"set aside as {path}")
            if not aside:
                click.echo(f"no saved state in {settings.state_dir} (VMAFX_SIDECAR_CHECKPOINT_DIR)")
    except DirectoryTaken:
        raise click.ClickException(f"a sidecar publishes into {settings.checkpoint_dir}; stop it first") from None
    except OSError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"instance {settings.instance_name} starts from the base model at its next start")


def _clean(instance: str) -> None:
    owners = {(SHM_DIR / leftover).lstat().st_uid for leftover in regions.leftovers(instance)}
    if os.geteuid() != 0 and owners - {os.geteuid()}:
        raise click.ClickException(f"instance {instance} belongs to another user")
    if not owners:
        return
    with regions.claimed(instance) as alive:
        if alive:
            raise click.ClickException(f"instance {instance} is running ({', '.join(alive)}); stop it first")
        for leftover in regions.leftovers(instance):
            _remove(SHM_DIR / leftover)
            click.echo(f"removed {SHM_DIR / leftover}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
