"""The directory that a fleet is configured in: the files of the servers, and the keys of everybody.

fleet.json is the plan. ca.pem and ca.key are the authority of the servers' certificates; the key stays here. server/
goes to the server as a whole (server-HOST/ to each of a cluster), pools/TENANT/ to the tenant's pool. Of nodes/TENANT/
each node gets NODE.nk and ca.pem.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.fleet import keys, plan, server_config
from pipeline.fleet.certificates import Authority
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.plan import Members, Plan
from pipeline.runtime.durable import write_durably

_PRIVATE = 0o700

Node = tuple[str, str]
"""Tenant and node."""


class Change(NamedTuple):
    """Who is to be there, who gets another key, and who may no longer send."""

    tenants: list[str]
    nodes: list[Node]
    renewed: list[Node]
    renewed_pools: list[str]
    revoked: list[Node]


def pool_key(directory: Path, tenant: str) -> Path:
    """Return where the seed of a tenant's pool lies."""
    return directory / "pools" / tenant / "pool.nk"


def node_key(directory: Path, tenant: str, node: str) -> Path:
    """Return where the seed of a node lies."""
    return directory / "nodes" / tenant / f"{node}.nk"


def servers(directory: Path, wanted: Plan) -> dict[str, Path]:
    """Return the directory of each server's files by its name."""
    if wanted.is_cluster:
        return {host: directory / f"server-{host}" for host in wanted.hosts}
    return {wanted.hosts[0]: directory / "server"}


def change(directory: Path, wanted: Plan, asked: Change) -> list[str]:
    """Change who is in the plan, and the keys that lie here; return a line for each change. The servers' files stay.

    Raises FleetFault where a node or tenant is not there, or a key cannot be used.
    """
    nodes, pools = dict.fromkeys((*asked.revoked, *asked.renewed)), dict.fromkeys(asked.renewed_pools)
    _look_for(directory, wanted, nodes, pools)
    for tenant, node in nodes:
        node_key(directory, tenant, node).unlink(missing_ok=True)
        del wanted.tenants[tenant].nodes[node]
    for tenant in pools:
        pool_key(directory, tenant).unlink(missing_ok=True)
        wanted.tenants[tenant].pool = ""
    told = [f"{tenant}/{node}: may no longer send" for tenant, node in asked.revoked]
    for tenant in (*asked.tenants, *asked.renewed_pools):
        told += _add(directory, wanted, tenant)
    for tenant, node in (*asked.nodes, *asked.renewed):
        told += _add(directory, wanted, tenant, node)
    return told


def write(directory: Path, wanted: Plan) -> None:
    """Write what follows from the plan: first the files of the servers, then the plan itself."""
    authority = Authority(directory) if wanted.tls else None
    for host, place in servers(directory, wanted).items():
        _make(place)
        if authority is not None:
            _write(place / "ca.pem", authority.pem)
            authority.certify(place, [host] if wanted.is_cluster else wanted.hosts)
        at = PurePosixPath(wanted.at or place)
        _write(place / "accounts.conf", server_config.accounts_file(wanted).encode())
        _write(place / "nats.conf", server_config.main_file(wanted, host, at).encode())
    if authority is not None:
        for tenant in wanted.tenants:
            for kind in ("pools", "nodes"):
                _make(directory / kind / tenant)
                _write(directory / kind / tenant / "ca.pem", authority.pem)
    plan.write(directory, wanted)


def _add(directory: Path, wanted: Plan, tenant: str, node: str = "") -> list[str]:
    """Give a tenant's pool, and a node if one is named, keys where they have none; return a line for each new one.

    A seed that lies there counts, so that what a killed command began is finished. One that was taken away stays valid.
    """
    members, told = wanted.tenants.setdefault(tenant, Members()), []
    members.pool, is_new = _have(pool_key(directory, tenant), members.pool)
    if is_new:
        told.append(f"pool of {tenant}: a new key")
    if node:
        members.nodes[node], is_new = _have(node_key(directory, tenant, node), members.nodes.get(node, ""))
        if is_new:
            told.append(f"{tenant}/{node}: a new key")
    return told


def _look_for(directory: Path, wanted: Plan, nodes: Iterable[Node], pools: Iterable[str]) -> None:
    """Raise FleetFault where one of them is not there: before any key goes, which may be nowhere else."""
    for tenant, node in nodes:
        if tenant not in wanted.tenants or node not in wanted.tenants[tenant].nodes:
            raise FleetFault("local", f"{tenant}/{node}: no such node in {directory / plan.FILE}")
    for tenant in pools:
        if tenant not in wanted.tenants:
            raise FleetFault("local", f"{tenant}: no such tenant in {directory / plan.FILE}")


def _have(path: Path, known: str) -> tuple[str, bool]:
    """Return the public half of a key, made where none is known and none lies there, and whether it is new."""
    if path.exists():
        return keys.public(path), False
    if known:
        return known, False
    _make(path.parent)
    return keys.make(path), True


def _make(directory: Path) -> None:
    for each in (directory.parent, directory):
        each.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_durably(path, content)
