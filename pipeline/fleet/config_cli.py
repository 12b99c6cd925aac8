"""`vmafx-sidecar fleet config`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console.mistakes import in_one_line
from pipeline.fleet import names

if TYPE_CHECKING:
    from pipeline.fleet.plan import Plan

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")

_CLUSTER = 3


class _Name(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not names.is_name(str(value)):
            self.fail(f"{value!r}: expected at most 64 letters, digits, - and _", param, ctx)
        return str(value)


NAME = _Name()
"""Of a tenant or a node."""


class _Node(click.ParamType):  # type: ignore[type-arg]
    name = "[tenant/]node"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        tenant, _, node = str(value).rpartition("/")
        return NAME.convert(tenant, param, ctx) if tenant else "", NAME.convert(node, param, ctx)


class _Host(click.ParamType):  # type: ignore[type-arg]
    name = "name"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _HOST.fullmatch(str(value)):
            self.fail(f"{value!r}: expected a host's name or address, without a port", param, ctx)
        return str(value).lower()


class _Place(click.ParamType):  # type: ignore[type-arg]
    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not Path(str(value)).is_absolute():
            self.fail(f"{value!r}: expected an absolute path", param, ctx)
        return str(value)


class _Sync(click.ParamType):  # type: ignore[type-arg]
    name = "always|interval"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"always|[1-9]\d{0,5}(ms|s|m)", str(value)):
            self.fail(f"{value!r}: expected always, or an interval such as 500ms, 2s or 2m", param, ctx)
        return str(value)


class _Address(click.ParamType):  # type: ignore[type-arg]
    name = "host:port|off"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if str(value) == "off":
            return ""
        host, _, port = str(value).rpartition(":")
        if not (_HOST.fullmatch(host.strip("[]")) and port.isdecimal() and int(port) < 65536):
            self.fail(f"{value!r}: expected HOST:PORT such as 127.0.0.1:8222, or off", param, ctx)
        return str(value)


@click.command(
    epilog="Exit code: 0 all is written, 1 something is in the way: the line says what. "
    "Example: vmafx-sidecar fleet config fleet --host nats.example --node n1 --node n2"
)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--host", "hosts", type=_Host(), multiple=True, help="Name of the server; more of them are its other names."
)
@click.option("--cluster/--no-cluster", "is_cluster", default=None, help="Each --host is a server of its own.")
@click.option(
    "--tenant", "tenants", type=NAME, multiple=True, help="A tenant; the first, of nodes without one.  [default]"
)
@click.option("--node", "nodes", type=_Node(), multiple=True, help="A node that may send: add it.")
@click.option("--renew", "renewed", type=_Node(), multiple=True, help="A node that gets another key.")
@click.option("--renew-pool", "renewed_pools", type=NAME, multiple=True, help="A tenant whose pool gets a new key.")
@click.option("--revoke", "revoked", type=_Node(), multiple=True, help="A node that may no longer send.")
@click.option("--bytes", "limit", type=click.IntRange(1 << 20, 2**60), help="Samples kept of a tenant.  [1073741824]")
@click.option("--port", type=click.IntRange(1, 63535), help="Where the servers listen.  [4222]")
@click.option("--http", type=_Address(), help="Where a server says how it is.  [127.0.0.1:8222]")
@click.option("--at", type=_Place(), help="Where the server's files will lie on its machine.  [where they are written]")
@click.option("--store", type=_Place(), help="Where the server stores samples.  [store, below --at]")
@click.option("--sync", type=_Sync(), help="When what is stored is synced to the disk.  [always]")
@click.option("--tls/--no-tls", default=None, help="Encrypt; without, only for loopback.  [--tls]")
def config(
    directory: Path,
    hosts: tuple[str, ...],
    is_cluster: bool | None,
    tenants: tuple[str, ...],
    nodes: tuple[tuple[str, str], ...],
    renewed: tuple[tuple[str, str], ...],
    renewed_pools: tuple[str, ...],
    revoked: tuple[tuple[str, str], ...],
    limit: int | None,
    port: int | None,
    http: str | None,
    at: str | None,
    store: str | None,
    sync: str | None,
    tls: bool | None,
) -> None:
    """Write the configuration of a fleet's NATS servers, a key for each node and pool, and certificates.

    Given again it adds to what is in DIRECTORY, and keeps all keys; what is not said stays as it is. At the end it says
    whether servers that run have to be started again. The directory holds all keys: keep it to yourself, and hand each
    its own.
    """
    from pipeline.fleet import directory as files
    from pipeline.fleet import plan
    from pipeline.fleet.faults import FleetFault
    from pipeline.fleet.server_config import accounts
    from pipeline.runtime.extras import lacking
    from pipeline.runtime.locks import locked

    if missing := lacking("fleet", "a fleet"):
        raise click.ClickException(missing)
    given = {
        "is_cluster": is_cluster,
        "bytes": limit,
        "port": port,
        "http": http,
        "at": at,
        "store": store,
        "tls": tls,
        "sync": sync,
    }
    given["hosts"] = list(dict.fromkeys(hosts)) or None  # type: ignore[assignment]
    default = tenants[0] if tenants else "default"

    def full(named: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        return [(tenant or default, node) for tenant, node in named]

    asked = files.Change([*tenants], full(nodes), full(renewed), [*renewed_pools], full(revoked))
    with in_one_line(FleetFault):
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(directory):
            wanted = plan.read(directory)
            for name, value in given.items():
                if value is not None:
                    setattr(wanted, name, value)
            _check(wanted)
            if not (wanted.tenants or tenants or nodes):
                asked.tenants.append(default)
            before = accounts(wanted)
            told = files.change(directory, wanted, asked)
            files.write(directory, wanted)
    told += [*_summary(directory, wanted), _how_to_apply(accounts(wanted) <= before)]
    for line in told:
        click.echo(line)


def _check(wanted: Plan) -> None:
    from pipeline.fleet.server_config import is_loopback

    if not wanted.hosts:
        raise click.UsageError("say by which name sidecars reach the server: --host NAME")
    if wanted.is_cluster and len(wanted.hosts) < _CLUSTER:
        raise click.UsageError(f"a cluster has {_CLUSTER} servers or more: give each as a --host, or --no-cluster")
    far = [host for host in wanted.hosts if not is_loopback(host)]
    if far and not wanted.tls:
        raise click.UsageError(f"--no-tls is for loopback only, and {far[0]} is not: anybody on the way could read")


def _summary(directory: Path, wanted: Plan) -> list[str]:
    """Return what to do with the files, and what a sidecar and a pool are told."""
    from pipeline.fleet.directory import servers

    lines = [f"server {host}: {place / 'nats.conf'}" for host, place in servers(directory, wanted).items()]
    lines += [
        f"tenant {tenant}: pool {directory / 'pools' / tenant}, {len(members.nodes)} "
        f"{'node' if len(members.nodes) == 1 else 'nodes'} {directory / 'nodes' / tenant}"
        for tenant, members in sorted(wanted.tenants.items())
    ]
    pool = f"VMAFX_FLEET_REPLICAS={wanted.replicas} VMAFX_FLEET_BYTES={wanted.bytes}"
    return [*lines, f"for everybody: VMAFX_FLEET_URL={','.join(wanted.urls)}", f"for pools: {pool}"]


def _how_to_apply(is_known: bool) -> str:
    """Return how servers that run take it over. After a reload, what is new in an account does not reach its pool."""
    if is_known:
        return "servers that run: nats-server --signal reload"
    return "servers that run: restart them, one after the other; sidecars keep what they could not send"
