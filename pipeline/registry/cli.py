"""`vmafx-sidecar registry`: the index of models in a directory."""

from pathlib import Path

import click

from pipeline.console.mistakes import in_one_line
from pipeline.registry import registry as index
from pipeline.registry.card import read_sidecar, summary, write_card
from pipeline.registry.registry import Entry, RegistryError

_directory = click.argument("directory", default=".", type=click.Path(path_type=Path, exists=True, file_okay=False))


@click.group()
def registry() -> None:
    """Keep registry.json: which models a directory holds, and the digest each must have."""


@registry.command(epilog="Example: vmafx-sidecar registry add models/mlp_small.onnx --id vmaf_small_v1")
@click.argument("model", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--id", "identifier", help="Lower-case letters, digits, - and _.  [default: the file's name]")
@click.option("--replace", is_flag=True, help="Replace the entry that has this id.")
@click.option("--notes", help="At most 512 characters.  [default: a summary of the model's .json]")
def add(model: Path, identifier: str | None, replace: bool, notes: str | None) -> None:
    """Register MODEL in its own directory, and write its card beside it."""
    with in_one_line(RegistryError):
        sidecar = read_sidecar(model)
        entry = Entry(
            id=identifier or model.stem,
            onnx=model.name,
            sha256=sidecar.sha256,
            opset=sidecar.opset,
            notes=notes or summary(sidecar),
        )
        if replace:
            index.discard(model.parent, {entry.id})
        index.add(model.parent, entry)
        card = write_card(model, sidecar)
    click.echo(f"{model.parent / index.NAME}: {entry.id} added; card: {card}")


@registry.command(epilog="Example: vmafx-sidecar registry verify models")
@_directory
def verify(directory: Path) -> None:
    """Check that every model in DIRECTORY is there and has its digest. Exits with 1 if one has not."""
    with in_one_line(RegistryError):
        entries, faults = _entries(directory), index.verify(directory)
    for fault in faults:
        click.echo(f"{fault.id}: {fault.reason}", err=True)
    if faults:
        raise click.ClickException(f"{len(faults)} of {len(entries)} models failed")
    click.echo("1 model is intact" if len(entries) == 1 else f"{len(entries)} models are intact")


@registry.command("list", epilog="Example: vmafx-sidecar registry list models")
@_directory
def list_(directory: Path) -> None:
    """List the models in DIRECTORY, in the order in which they were added."""
    with in_one_line(RegistryError):
        entries = _entries(directory)
    if not entries:
        click.echo(f"{directory / index.NAME}: no model is registered")
    for entry in entries:
        click.echo(f"{entry.id}  {entry.onnx}  opset {entry.opset}  {entry.sha256[:12]}  {entry.notes}")


def _entries(directory: Path) -> tuple[Entry, ...]:
    """Return the registered models. Raises RegistryError, also where there is no registry."""
    if not (directory / index.NAME).exists():
        raise RegistryError(f"{directory / index.NAME}: no such file; `vmafx-sidecar registry add` makes it")
    return index.load(directory).models
