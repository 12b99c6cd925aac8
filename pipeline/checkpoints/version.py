"""How an operator names a checkpoint on the command line, and completion of these names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipeline.checkpoints import names, pins, pointers
from pipeline.checkpoints.checkpoint import CheckpointError
from pipeline.config import ConfigError, load

_DIRECTORY = f"{__name__}.directory"
POINTERS = (pointers.LATEST, pointers.LATEST_STABLE)


class Version(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """A version as a number, as the name of its file, or as the pointer that leads to it."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Return the number, or the name of the pointer."""
        text = str(value)
        if text in POINTERS:
            return text
        version = names.version_meant(text)
        if version is None:
            self.fail(f"{text!r}: expected a version such as 42 or model_v000042, latest or latest-stable", param, ctx)
        return version

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the pointers and the published versions, newest first; for `unpin` the pinned ones."""
        del param
        try:
            offered = list(_offered(ctx))
        except (OSError, pins.PinsError, click.ClickException):
            return []  # there is no place for a message in a completion
        return [CompletionItem(text) for text in offered if text.startswith(incomplete)]


def number(directory: Path, version: int | str) -> int:
    """Return the number of a version, as `Version` gives it. Raises CheckpointError where a pointer leads nowhere."""
    if isinstance(version, int):
        return version
    found = pointers.pointed(directory, version)
    if found is None:
        raise CheckpointError(f"{directory}: {version} leads to no checkpoint")
    return found


def remember_directory(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    """Keep what `--directory` names for `directory_of`, which looks at it: `--help` must work without a directory."""
    if value is not None:
        ctx.meta[_DIRECTORY] = value


def directory_of(ctx: click.Context) -> Path:
    """Return what `--directory` of this command or its group names, else the setting's. Raises ClickException."""
    try:
        directory: Path = ctx.meta.get(_DIRECTORY) or load().checkpoint_dir
    except ConfigError as error:
        raise click.ClickException("\n".join(error.problems)) from None
    return existing(directory)


def existing(directory: Path) -> Path:
    """Return a directory of checkpoints. Raises ClickException where it is none."""
    if not directory.is_dir():
        raise click.ClickException(
            f"{directory}: no such directory; name it with --directory or VMAFX_SIDECAR_CHECKPOINT_DIR"
        )
    return directory


def _offered(ctx: click.Context) -> Iterable[str]:
    directory = directory_of(ctx)
    if ctx.command.name == "unpin":
        return map(str, sorted(pins.read(directory), reverse=True))
    return [*POINTERS, *map(str, reversed(names.published(directory)))]
