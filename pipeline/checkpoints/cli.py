"""`vmafx-sidecar checkpoints`, `pin` and `unpin`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from pipeline.checkpoints.version import Version, directory_of, number, remember_directory
from pipeline.console.mistakes import in_one_line

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

_in_directory = click.option(
    "--directory",
    type=click.Path(path_type=Path),
    callback=remember_directory,
    expose_value=False,
    help="Directory of the checkpoints.  [default: VMAFX_SIDECAR_CHECKPOINT_DIR]",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_version = click.argument("version", type=Version())


def _mistakes() -> AbstractContextManager[None]:
    from pipeline.checkpoints.checkpoint import CheckpointError
    from pipeline.checkpoints.pins import PinsError
    from pipeline.model.errors import UnusableModel
    from pipeline.registry.registry import RegistryError

    return in_one_line(CheckpointError, PinsError, RegistryError, UnusableModel)


@click.group(invoke_without_command=True, epilog="Example: vmafx-sidecar checkpoints show latest-stable")
@_in_directory
@_as_json
@click.pass_context
def checkpoints(context: click.Context, as_json: bool) -> None:
    """List the published checkpoints, show one, or compare two.

    Without a command: list them. VERSION is a number (42), a file's name (model_v000042), latest or latest-stable.
    """
    if context.invoked_subcommand is None:
        _list(directory_of(context), as_json)


@checkpoints.command("list", epilog="Example: vmafx-sidecar checkpoints list --json")
@_in_directory
@_as_json
@click.pass_context
def list_(context: click.Context, as_json: bool) -> None:
    """List the published checkpoints, newest last."""
    _list(directory_of(context), as_json)


def _list(directory: Path, as_json: bool) -> None:
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


@checkpoints.command(epilog="Example: vmafx-sidecar checkpoints show latest")
@_version
@_in_directory
@_as_json
@click.pass_context
def show(context: click.Context, version: int | str, as_json: bool) -> None:
    """Show everything that is known of one checkpoint."""
    from pipeline.checkpoints.tables import details, print_table

    (known,) = _read(directory_of(context), version)
    if as_json:
        click.echo(msgspec.json.encode(known))
    else:
        print_table(details(known))


@checkpoints.command(epilog="Example: vmafx-sidecar checkpoints diff 41 latest")
@click.argument("one", type=Version(), metavar="VERSION")
@click.argument("other", type=Version(), metavar="VERSION")
@_in_directory
@_as_json
@click.pass_context
def diff(context: click.Context, one: int | str, other: int | str, as_json: bool) -> None:
    """Compare two checkpoints: figures, and how far the weights have moved."""
    from pipeline.checkpoints.diff import changes
    from pipeline.checkpoints.tables import details, print_table, weight_changes

    directory = directory_of(context)
    known = _read(directory, one, other)
    with _mistakes():
        moved = changes(directory, known[0].version, known[1].version)
    if as_json:
        click.echo(msgspec.json.encode({"checkpoints": known, "weights": moved}))
    else:
        print_table(details(*known))
        print_table(weight_changes(moved))


@click.command(epilog="Example: vmafx-sidecar pin latest-stable")
@_version
@_in_directory
@click.pass_context
def pin(context: click.Context, version: int | str) -> None:
    """Exempt checkpoint VERSION from retention: it stays, however many newer ones there are."""
    from pipeline.checkpoints import commands

    directory = directory_of(context)
    with _mistakes():
        pinned = number(directory, version)
        commands.pin(directory, pinned)
    click.echo(f"{pinned} is pinned")


@click.command(epilog="Example: vmafx-sidecar unpin 42")
@_version
@_in_directory
@click.pass_context
def unpin(context: click.Context, version: int | str) -> None:
    """End the exemption of checkpoint VERSION: retention may remove it again."""
    from pipeline.checkpoints import commands

    directory = directory_of(context)
    with _mistakes():
        unpinned = number(directory, version)
        commands.unpin(directory, unpinned)
    click.echo(f"{unpinned} is no longer pinned")


def _read(directory: Path, *versions: int | str) -> list[Checkpoint]:
    from pipeline.checkpoints.checkpoint import read

    with _mistakes():
        return [read(directory, number(directory, version)) for version in versions]
