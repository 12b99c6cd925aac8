"""`vmafx-sidecar fleet`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from pipeline.config import ConfigError, Settings, load
from pipeline.fleet.config_cli import NAME, config

if TYPE_CHECKING:
    from nats.aio.client import Client

    from pipeline.fleet.holdings import Holdings

T = TypeVar("T")

_OPERATOR = "operator"

KEPT = "what the pool has taken stays there: `vmafx-sidecar forget` and `vmafx-sidecar quarantine`, where the pool runs"


class NoServer(click.ClickException):
    """No server answers; the exit code is that of other commands that find no sidecar."""

    exit_code = 3


@click.group()
def fleet() -> None:
    """Configure the servers of a fleet, look at what they hold, and remove samples from them."""


fleet.add_command(config)

_tenant = click.option("--tenant", type=NAME, help="Whose samples.  [default: VMAFX_FLEET_TENANT]")
_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of `fleet config`, which says where the servers are, and has the keys.  [default: VMAFX_FLEET_*]",
)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@fleet.command(
    epilog="Exit code: 0 shown, 1 refused, or nothing is there yet, 3 no server answers. "
    "Example: vmafx-sidecar fleet status --dir fleet"
)
@_directory
@_tenant
@_json
def status(directory: Path | None, tenant: str | None, as_json: bool) -> None:
    """Show what a tenant's stream holds, who sent it, how far its readers are, and which models there are.

    Needs the key of the tenant's pool.
    """
    from pipeline.fleet import holdings

    settings = _settings(directory, tenant)
    found = _asked(settings, lambda client: holdings.look(client, settings.fleet_tenant))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _show(found)


@fleet.command(
    epilog="Exit code: 0 all of it is gone, 1 refused, or not known whether it is, 3 no server answers. "
    "Example: vmafx-sidecar fleet forget --dir fleet --node n1 --dry-run"
)
@_directory
@_tenant
@click.option("--node", "nodes", type=NAME, multiple=True, help="Samples of this node.")
@click.option("--all", "everything", is_flag=True, help="Samples of all nodes.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@_json
def forget(
    directory: Path | None, tenant: str | None, nodes: tuple[str, ...], everything: bool, dry_run: bool, as_json: bool
) -> None:
    """Remove what nodes have sent from a tenant's stream, for good.

    Needs the key of the tenant's pool. What the pool has taken already is removed where it runs, by `vmafx-sidecar
    forget`; `vmafx-sidecar quarantine` leaves out what comes later.
    """
    from pipeline.fleet import stream

    if everything == bool(nodes):
        raise click.UsageError("say whose samples: --node NAME, or --all")
    settings = _settings(directory, tenant)
    name = settings.fleet_tenant

    async def purged(client: Client) -> dict[str, int]:
        found = dict.fromkeys(nodes, 0)
        for node in ("*",) if everything else nodes:
            found |= await stream.purge(client, name, node, only_count=dry_run)
        return found

    removed = _asked(settings, purged)
    if as_json:
        receipt = {"forgotten": not dry_run, "tenant": name, "messages": removed, "stays": [KEPT]}
        click.echo(msgspec.json.format(msgspec.json.encode(receipt), indent=2))
        return
    for node, count in removed.items():
        click.echo(f"{name}/{_shown(node)}: {count} messages {'would be removed' if dry_run else 'removed'}")
    click.echo(KEPT)


def _settings(directory: Path | None, tenant: str | None) -> Settings:
    """Return the settings of a pool's operator: of the environment, or of a directory of `fleet config`."""
    from pipeline.fleet import directory as files
    from pipeline.fleet import plan
    from pipeline.fleet.faults import FleetFault

    try:
        settings = load(os.environ | ({"VMAFX_FLEET_TENANT": tenant} if tenant else {}))
        if directory is None:
            return dataclasses.replace(settings, pool=_OPERATOR)
        known = plan.read(directory)
    except ConfigError as error:
        raise click.ClickException("\n".join(error.problems)) from None
    except FleetFault as fault:
        raise click.ClickException(str(fault)) from None
    if settings.fleet_tenant not in known.tenants:
        expected = ", ".join(sorted(known.tenants)) or "none"
        raise click.ClickException(f"{directory}: no tenant {settings.fleet_tenant}, expected one of: {expected}")
    return dataclasses.replace(
        settings,
        pool=_OPERATOR,
        fleet=known.urls,
        fleet_key=files.pool_key(directory, settings.fleet_tenant),
        fleet_ca=directory / "ca.pem" if known.tls else None,
    )


def _asked(settings: Settings, job: Callable[[Client], Awaitable[T]]) -> T:
    """Have a job done on the servers. A fault ends the command, in a line."""
    from pipeline.fleet.faults import FleetFault
    from pipeline.fleet.link import ask
    from pipeline.runtime.extras import lacking

    if missing := lacking("fleet", "a fleet"):
        raise click.ClickException(missing)
    if not settings.fleet:
        raise click.UsageError("say where the servers are: --dir, or VMAFX_FLEET_URL")
    try:
        return ask(settings, _OPERATOR, job)
    except FleetFault as fault:
        where = ",".join(settings.fleet)
        if fault.kind in {"down", "slow"}:
            raise NoServer(f"{where}: {fault.kind}: {fault}") from None
        if fault.kind == "lost":
            fault = FleetFault("lost", f"tenant {settings.fleet_tenant} has no stream yet: its pool makes it")
        raise click.ClickException(f"{where}: {fault.kind}: {fault}") from None


def _show(found: Holdings) -> None:
    """Print it for a person."""
    from rich.console import Console
    from rich.table import Table

    oldest = "" if found.oldest_s is None else f", the oldest {_age(found.oldest_s)} old"
    click.echo(f"tenant {found.tenant}: {found.messages} messages, {found.bytes / 1e6:.1f} MB{oldest}")
    tables = (
        (("node", "messages"), [(node, str(count)) for node, count in found.nodes.items()]),
        (
            ("reader", "behind", "unacknowledged"),
            [(name, str(each.behind), str(each.unacknowledged)) for name, each in found.consumers.items()],
        ),
        (("model", "since", "says"), [(name, each.at, each.value) for name, each in found.models.items()]),
    )
    for head, rows in tables:
        table = Table(*head, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(_shown, row))
        Console(width=None, soft_wrap=True, highlight=False, markup=False).print(table)


def _shown(text: str) -> str:
    """Return what others wrote so that a terminal shows it, and does nothing else."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
