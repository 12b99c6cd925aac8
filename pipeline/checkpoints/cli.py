"""`vmafx-sidecar checkpoints`, `pin`, `unpin` and `rollback`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.checkpoints.names import version_meant
from pipeline.console.mistakes import in_one_line

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint


def _number(text: str) -> int:
    version = version_meant(text)
    if version is None:
        raise click.BadParameter(f"{text!r}: expected a version such as 42, v000042 or model_v000042")
    return version


def _directory(context: click.Context, _param: click.Parameter, value: Path | None) -> Path:
    from pipeline.config import ConfigError, load

    try:
        directory = value or load().checkpoint_dir
    except ConfigError as error:
        raise click.ClickException("\n".join(error.problems)) from None
    if not directory.is_dir() and not context.resilient_parsing:
        raise click.ClickException(
            f"{directory}: no such directory; name it with --directory or VMAFX_SIDECAR_CHECKPOINT_DIR"
        )
    return directory


_in_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    callback=_directory,
    help="Where the checkpoints are; VMAFX_SIDECAR_CHECKPOINT_DIR by default.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_version = click.argument("version", type=_number)


def _mistakes() -> AbstractContextManager[None]:
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.checkpoints.pins import PinsError
    from pipeline.model.errors import UnusableModel
    from pipeline.registry.registry import RegistryError

    return in_one_line(CheckpointError, PinsError, RegistryError, UnusableModel)


@click.group(invoke_without_command=True, epilog="Example: vmafx-sidecar checkpoints diff 41 42")
@_in_directory
@_as_json
@click.pass_context
def checkpoints(context: click.Context, directory: Path, as_json: bool) -> None:
    """List the published checkpoints, newest last; show one; compare two."""
    context.obj = directory
    if context.invoked_subcommand is not None:
        return
    from pipeline.checkpoints import checkpoint as sidecar
    from pipeline.checkpoints import pins
    from pipeline.checkpoints.tables import listing, print_table

    with _mistakes():
        readable, unreadable = sidecar.read_all(directory)
        known, pinned = list(readable.values()), pins.read(directory)
    for reason in unreadable.values():
        click.echo(reason, err=True)
    if as_json:
        click.echo(msgspec.json.encode([{**msgspec.to_builtins(c), "pinned": c.version in pinned} for c in known]))
    elif known:
        print_table(listing(directory, known, pinned))
    else:
        click.echo(f"{directory}: no checkpoint yet")


@checkpoints.command(epilog="Example: vmafx-sidecar checkpoints show 42")
@_version
@_as_json
@click.pass_obj
def show(directory: Path, version: int, as_json: bool) -> None:
    """Show everything that is known of one checkpoint."""
    from pipeline.checkpoints.tables import details, print_table

    (known,) = _read(directory, version)
    if as_json:
        click.echo(msgspec.json.encode(known))
    else:
        print_table(details(known))


@checkpoints.command(epilog="Example: vmafx-sidecar checkpoints diff 41 42")
@click.argument("one", type=_number)
@click.argument("other", type=_number)
@_as_json
@click.pass_obj
def diff(directory: Path, one: int, other: int, as_json: bool) -> None:
    """Compare two checkpoints: figures, and how far the weights have moved."""
    from pipeline.checkpoints.diff import changes
    from pipeline.checkpoints.tables import details, print_table, weight_changes

    with _mistakes():
        known = _read(directory, one, other)
        moved = changes(directory, one, other)
    if as_json:
        click.echo(msgspec.json.encode({"checkpoints": known, "weights": moved}))
    else:
        print_table(details(*known))
        print_table(weight_changes(moved))


@click.command(epilog="Example: vmafx-sidecar pin 42")
@_version
@_in_directory
def pin(version: int, directory: Path) -> None:
    """Keep checkpoint VERSION however many newer ones there are."""
    from pipeline.checkpoints import commands

    with _mistakes():
        commands.pin(directory, version)
    click.echo(f"{version} is pinned")


@click.command(epilog="Example: vmafx-sidecar unpin 42")
@_version
@_in_directory
def unpin(version: int, directory: Path) -> None:
    """Let a pinned checkpoint go when its time comes."""
    from pipeline.checkpoints import commands

    with _mistakes():
        commands.unpin(directory, version)
    click.echo(f"{version} is no longer pinned")


@click.command(epilog="Example: vmafx-sidecar rollback && vmafx-sidecar checkpoints")
@_in_directory
@_as_json
def rollback(directory: Path, as_json: bool) -> None:
    """Withdraw the newest stable checkpoint: latest-stable goes back to the one before."""
    from pipeline.checkpoints import commands
    from pipeline.checkpoints.names import stem

    with _mistakes():
        bad, after = commands.roll_back(directory)
    for problem in after.problems:
        click.echo(problem, err=True)
    stable = after.stable
    if as_json:
        click.echo(msgspec.json.encode({"withdrawn": bad.version, "stable": stable.version if stable else None}))
    else:
        now = f"latest-stable is {stem(stable.version)}" if stable else "no stable checkpoint is left"
        click.echo(f"{stem(bad.version)} is withdrawn; {now}")


def _read(directory: Path, *versions: int) -> list[Checkpoint]:
    from pipeline.checkpoints.checkpoint import read

    with _mistakes():
        return [read(directory, version) for version in versions]
