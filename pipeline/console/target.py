"""Which sidecar a command is about."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline import config
from pipeline.config import Settings
from pipeline.runtime import regions
from pipeline.runtime.journal import Journals, attach_journals
from pipeline.runtime.reports import Board
from pipeline.shm.segment import SegmentError

NOT_RUNNING = 3
"""Exit code of commands that find no sidecar."""


class NoSidecar(click.ClickException):
    """There is nothing to look at."""

    exit_code = NOT_RUNNING


socket_option = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="Socket of the sidecar.  [default: VMAFX_SIDECAR_SOCKET, else the only sidecar on this machine]",
)


def settings_of(socket: Path | None) -> Settings:
    """Return the settings as the environment and `socket` give them."""
    environ = dict(os.environ)
    if socket is not None:
        environ["VMAFX_SIDECAR_SOCKET"] = str(socket.absolute())
    try:
        return config.load(environ)
    except config.ConfigError as error:
        raise click.ClickException("\n".join(error.problems)) from None


def find_instance(socket: Path | None) -> str:
    """Return the instance of `socket`, else of the environment, else the only one that runs."""
    settings = settings_of(socket)
    present = regions.instances()
    chosen = socket is not None or "VMAFX_SIDECAR_SOCKET" in os.environ or "VMAFX_SIDECAR_INSTANCE" in os.environ
    if chosen or settings.instance_name in present:
        return settings.instance_name
    if len(present) == 1:
        return present[0]
    if present:
        raise NoSidecar(
            f"no sidecar is running for {settings.socket}, but {len(present)} others are: choose one with --socket"
        )
    raise NoSidecar(f"no sidecar is running for {settings.socket}")


def find_board(socket: Path | None) -> Board:
    """Return the reports of the sidecar that is meant."""
    instance = find_instance(socket)
    try:
        return regions.attach_board(instance)
    except SegmentError as error:
        raise NoSidecar(f"no sidecar is running: {error}") from None


def find_journals(socket: Path | None) -> Journals:
    """Return the log events of the sidecar that is meant."""
    try:
        return attach_journals(find_instance(socket))
    except SegmentError as error:
        raise NoSidecar(f"no sidecar is running: {error}") from None


def base_model_of(settings: Settings) -> Path | None:
    """Return the base model of the settings; where it is in a registry, fetched into the user's cache.

    Raises ClickException where it cannot be had.
    """
    if settings.base_model is None or isinstance(settings.base_model, Path):
        return settings.base_model
    from pipeline.artifacts.base import fetch
    from pipeline.artifacts.faults import RegistryFault
    from pipeline.artifacts.signature import Trust

    try:
        cache = Path(click.get_app_dir("vmafx-sidecar"))
        return fetch(settings.base_model, cache, Trust.of(settings.registry_public_key)).path
    except RegistryFault as fault:
        raise click.ClickException(f"VMAFX_BASE_MODEL_PATH: {fault}") from None
