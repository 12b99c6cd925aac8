"""Who may do what on a fleet's servers, as subjects of NATS.

A pool has an account with the stream and the bucket in it. Each node has an account of its own, which holds nothing and
imports of the pool's only what the node may use. Rules on subjects alone would not be enough: a server sends the answer
to a message wherever its sender says, without asking whether the sender may write there.
"""

from __future__ import annotations

from typing import Any

from pipeline.fleet import names

_STREAM = ("STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.PURGE", "STREAM.MSG.GET", "DIRECT.GET")
_CONSUMERS = ("CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT")
_CONNECTIONS = 8
_SUBSCRIPTIONS = 64


def of_node(tenant: str, node: str, key: str) -> dict[str, Any]:
    """Return the account of a node: it sends on its own subject, and reads which models there are. `key`: public."""
    models, values = _direct_get(tenant), _values(tenant)
    return {
        "users": [_user(key, [names.subject(tenant, node), models], [f"{names.inbox(node)}.>", values])],
        "imports": [
            {"service": {"account": tenant, "subject": names.subject(tenant, node)}},
            {"service": {"account": tenant, "subject": models}},
            {"stream": {"account": tenant, "subject": values}},
        ],
        "limits": {"max_connections": _CONNECTIONS, "max_subscriptions": _SUBSCRIPTIONS},
    }


def of_pool(tenant: str, key: str, disk_bytes: int) -> dict[str, Any]:
    """Return the account of a tenant's pool, with its stream and its buckets. It cannot send samples itself."""
    values = _values(tenant)
    leases = names.leases(tenant)
    publish = [
        subject
        for stream in (names.stream(tenant), _values_stream(tenant), f"KV_{leases}")
        for subject in (
            *(f"$JS.API.{request}.{stream}" for request in _STREAM),
            *(f"$JS.API.{request}.{stream}.>" for request in _CONSUMERS),
            *(f"$JS.API.CONSUMER.{request}.{stream}" for request in ("CREATE", "LIST", "NAMES")),
            f"$JS.API.DIRECT.GET.{stream}.>",
            f"$JS.ACK.{stream}.>",
            f"$JS.FC.{stream}.>",
        )
    ]
    return {
        "jetstream": {"max_file": disk_bytes, "max_streams": 3},
        "users": [_user(key, [*publish, values, f"$KV.{leases}.>"], [f"{names.pool_inbox('*')}.>", values])],
        "exports": [
            {"service": names.subjects(tenant)},
            {"service": _direct_get(tenant)},
            {"stream": values},
        ],
    }


def _user(key: str, publish: list[str], subscribe: list[str]) -> dict[str, Any]:
    return {"nkey": key, "permissions": {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}}}


def _values_stream(tenant: str) -> str:
    return f"KV_{names.bucket(tenant)}"


def _values(tenant: str) -> str:
    return f"$KV.{names.bucket(tenant)}.>"


def _direct_get(tenant: str) -> str:
    return f"$JS.API.DIRECT.GET.{_values_stream(tenant)}.{_values(tenant)}"
