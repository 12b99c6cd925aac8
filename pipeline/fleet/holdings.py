"""What a tenant's stream and bucket hold."""

from __future__ import annotations

import time
from datetime import datetime

import msgspec
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from pipeline.fleet import names

_A_PAGE = 256
_SHOWN = 200


class Consumer(msgspec.Struct, frozen=True):
    """A reader of the stream. behind: messages that it was not sent yet; unacknowledged: sent, and not taken yet."""

    behind: int
    unacknowledged: int


class Value(msgspec.Struct, frozen=True):
    """A value of the bucket, by its key: how often it was written to, when last, and what it says."""

    revision: int
    at: str
    value: str


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """Messages by node, size in bytes, age of the oldest in seconds; consumers and models by name."""

    tenant: str
    messages: int
    bytes: int
    oldest_s: float | None
    nodes: dict[str, int]
    consumers: dict[str, Consumer]
    models: dict[str, Value]


async def look(client: Client, tenant: str) -> Holdings:
    """Return what is there. Raises NotFoundError where there is no stream."""
    js, stream = client.jetstream(), names.stream(tenant)
    state = (await js.stream_info(stream, subjects_filter=names.subjects(tenant))).state
    oldest = (await js.get_msg(stream, seq=state.first_seq)).time if state.messages else None
    return Holdings(
        tenant=tenant,
        messages=state.messages,
        bytes=state.bytes,
        oldest_s=None if oldest is None else max(0.0, time.time() - oldest.timestamp()),
        nodes={names.node_of(subject): count for subject, count in sorted((state.subjects or {}).items())},
        consumers=await _consumers(client, stream),
        models=await _models(client, tenant),
    )


async def _consumers(client: Client, stream: str) -> dict[str, Consumer]:
    found: dict[str, Consumer] = {}
    while len(page := await client.jetstream().consumers_info(stream, offset=len(found))):
        found |= {each.name: Consumer(each.num_pending or 0, each.num_ack_pending or 0) for each in page}
        if len(page) < _A_PAGE:
            break
    return found


async def _models(client: Client, tenant: str) -> dict[str, Value]:
    js, bucket = client.jetstream(), names.bucket(tenant)
    try:
        info = await js.stream_info(f"KV_{bucket}", subjects_filter=f"$KV.{bucket}.>")
    except NotFoundError:
        return {}
    found = {}
    for subject in sorted(info.state.subjects or {}):
        last = await js.get_last_msg(f"KV_{bucket}", subject)
        text = (last.data or b"").decode(errors="replace")[:_SHOWN]
        found[subject.removeprefix(f"$KV.{bucket}.")] = Value(last.seq or 0, _text_of(last.time), text)
    return found


def _text_of(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else ""
