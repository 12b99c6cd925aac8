"""The stream of a tenant's samples: how it is made, and where a reader of it goes on."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError

from pipeline.config import Settings
from pipeline.fleet import names

_DAY_S = 86400.0
_ACK_WAIT_S = 60.0


class Found(NamedTuple):
    """A stream as it is: when it was made (what identifies it), its first and last sequence, and what it holds."""

    made: str
    first: int
    last: int
    messages: int
    size: int


def config_of(settings: Settings) -> StreamConfig:
    """Return how the settings want the stream: on disk, and the oldest goes where there is too much."""
    return StreamConfig(
        name=names.stream(settings.fleet_tenant),
        description="samples that sidecars share",
        subjects=[names.subjects(settings.fleet_tenant)],
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        max_age=settings.fleet_days * _DAY_S,
        max_bytes=settings.fleet_bytes,
        num_replicas=settings.fleet_replicas,
    )


async def ensure(client: Client, settings: Settings) -> Found:
    """Return the stream, made where there is none; its limits are those of the settings afterwards."""
    js, wanted = client.jetstream(), config_of(settings)
    assert wanted.name is not None
    try:
        info = await js.stream_info(wanted.name)
    except NotFoundError:
        return _found(await js.add_stream(wanted))
    config = info.config
    kept = (config.max_age, config.max_bytes, config.num_replicas)
    if kept != (wanted.max_age, wanted.max_bytes, wanted.num_replicas):
        info = await js.update_stream(config.evolve(
            max_age=wanted.max_age, max_bytes=wanted.max_bytes, num_replicas=wanted.num_replicas
        ))  # fmt: skip
    return _found(info)


async def look(client: Client, tenant: str) -> Found:
    """Return the stream as it is now."""
    return _found(await client.jetstream().stream_info(names.stream(tenant)))


async def read_from(client: Client, tenant: str, durable: str, sequence: int) -> None:
    """Make a consumer that begins at a sequence, in the place of any other of its name.

    So what was acknowledged never says where to go on: that is saved with what was learned.
    """
    js, stream = client.jetstream(), names.stream(tenant)
    with suppress(NotFoundError):
        await js.delete_consumer(stream, durable)
    config = ConsumerConfig(
        durable_name=durable,
        ack_policy=AckPolicy.ALL,
        ack_wait=_ACK_WAIT_S,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=max(1, sequence),
        max_ack_pending=-1,
    )
    await js.add_consumer(stream, config)


async def purge(client: Client, tenant: str, node: str = "*", *, only_count: bool = False) -> dict[str, int]:
    """Remove what a node, or every node, of a tenant has sent until now; return how many messages, by node."""
    js, stream, subject = client.jetstream(), names.stream(tenant), names.subject(tenant, node)
    state = (await js.stream_info(stream, subjects_filter=subject)).state
    found = {names.node_of(sent_on): count for sent_on, count in sorted((state.subjects or {}).items())}
    if found and not only_count:
        await js.purge_stream(stream, seq=state.last_seq + 1, subject=subject)
    return found


def _found(info: StreamInfo) -> Found:
    made: datetime | str | None = info.created
    state = info.state
    return Found(str(made), state.first_seq, state.last_seq, state.messages, state.bytes)
