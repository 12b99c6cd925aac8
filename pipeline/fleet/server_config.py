"""The files that nats-server reads."""

from __future__ import annotations

import ipaddress
import json
from pathlib import PurePosixPath
from typing import Any

from pipeline.fleet import names, permissions
from pipeline.fleet.plan import Plan

ROUTES = 2000
"""The servers of a cluster talk to each other on the port of the clients and this many more."""
_BUCKET_BYTES = 64 << 20
_MEMORY_BYTES = 64 << 20
_MAX_PAYLOAD = 8 << 20
"""Bytes of a message: 256 samples of 4,096 features are half of that."""

_HEAD = "# Written by `vmafx-sidecar fleet config`, and written anew by it: change what is here by its options.\n"

_SYNC = """\
  # With `always` a sample is on the disk when it is acknowledged. With an interval, what was acknowledged since the
  # last one is lost where the machine loses power, and nobody sends it again. The server's own default is two minutes.
"""


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main_file(plan: Plan, host: str, at: PurePosixPath) -> str:
    """Return `nats.conf` of the server `host`, whose files lie in the directory `at` of its machine."""
    store = PurePosixPath(plan.store) if plan.store else at / "store"
    jetstream = (
        f"jetstream {{\n  store_dir: {_text(store)}\n  max_file_store: {len(plan.tenants) * _disk_bytes(plan)}\n"
        f"  max_memory_store: {_MEMORY_BYTES}\n{_SYNC}  sync_interval: {_text(plan.sync)}\n}}\n"
    )
    return "".join([
        _HEAD,
        f"server_name: {_text(host)}\n",
        f"listen: {_text(_joined(_listen(plan, host), plan.port))}\n",
        f"http: {_text(plan.http)}  # for health checks; nobody else's business\n" if plan.http else "",
        f"max_payload: {_MAX_PAYLOAD}\n",
        _tls(at) if plan.tls else "",
        jetstream,
        _cluster(plan, host, at) if plan.is_cluster else "",
        "include ./accounts.conf\n",
    ])  # fmt: skip


def accounts_file(plan: Plan) -> str:
    """Return `accounts.conf`, the same for all servers. Without a key nobody may do anything."""
    made: dict[str, Any] = {}
    for tenant, members in sorted(plan.tenants.items()):
        made[tenant] = permissions.of_pool(tenant, members.pool, plan.replicas * _disk_bytes(plan))
        for node, key in sorted(members.nodes.items()):
            made[names.account(tenant, node)] = permissions.of_node(tenant, node, key)
    return f"{_HEAD}accounts: {json.dumps(made, indent=1)}\n"


def accounts(plan: Plan) -> set[str]:
    """Return the names of all accounts: of pools and of nodes."""
    nodes = (names.account(tenant, node) for tenant, members in plan.tenants.items() for node in members.nodes)
    return {*plan.tenants, *nodes}


def _disk_bytes(plan: Plan) -> int:
    """Return what a tenant's stream and bucket may take on a server."""
    return plan.bytes + _BUCKET_BYTES


def _listen(plan: Plan, host: str) -> str:
    if not all(is_loopback(name) for name in plan.hosts):
        return "0.0.0.0"  # noqa: S104  nodes are elsewhere; nobody comes in without a key
    return "127.0.0.1" if host == "localhost" else host


def _tls(at: PurePosixPath) -> str:
    files = f"cert_file: {_text(at / 'cert.pem')}, key_file: {_text(at / 'key.pem')}"
    return f'tls {{ {files}, min_version: "1.3", timeout: 10 }}\n'


def _cluster(plan: Plan, host: str, at: PurePosixPath) -> str:
    """Return what makes it one of several. Routes are open to certificates of the fleet's authority alone."""
    port, routes = plan.port + ROUTES, [f"nats://{_joined(name, plan.port + ROUTES)}" for name in plan.hosts]
    files = f"cert_file: {_text(at / 'cert.pem')}, key_file: {_text(at / 'key.pem')}, ca_file: {_text(at / 'ca.pem')}"
    return (
        f"cluster {{\n  name: fleet\n  listen: {_text(_joined(_listen(plan, host), port))}\n  no_advertise: true\n"
        f"  routes: {json.dumps(routes)}\n  tls {{ {files}, verify: true, timeout: 10 }}\n}}\n"
    )


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _text(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)
