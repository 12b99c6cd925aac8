"""One pool of a name at a time: a key in a bucket of the tenant's that the pool renews, by compare-and-swap.

No clock is compared with another: a lease has ended when it was not renewed for as long as it lasts, by the clock of
who waits for it.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from nats.aio.client import Client
from nats.js.api import KeyValueConfig
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from pipeline.fleet import buckets, names
from pipeline.fleet.faults import FleetFault

LASTS_S = 15.0
RENEW_S = 3.0
"""How often a pool renews its lease, in seconds."""
_LOOK_S = 1.0


class Holder(msgspec.Struct):
    """`owner` is a pool over its restarts, `life` one life of it."""

    owner: str
    life: str


class Lease:
    """The right to be the pool of a name."""

    def __init__(self, tenant: str, pool: str, holder: Holder, replicas: int = 1) -> None:
        self._key, self._holder = f"pool.{pool}", holder
        self.bucket = KeyValueConfig(names.leases(tenant), replicas=replicas)
        self._revision = 0

    async def take(self, client: Client) -> None:
        """Take the lease, waiting for one that is not renewed to end. Raises FleetFault `moved` where it is renewed."""
        bucket = await buckets.ensure(client, self.bucket)
        seen, until = 0, 0.0
        while True:
            revision, holder = await self._look(bucket)
            is_free = holder is None or holder.owner == self._holder.owner
            if seen and revision != seen and not is_free:
                raise self._taken()
            if is_free or (seen and time.monotonic() > until):
                await self._write(bucket, revision)
                return
            if not seen:
                seen, until = revision, time.monotonic() + LASTS_S
            await asyncio.sleep(_LOOK_S)

    async def renew(self, client: Client) -> None:
        """Say that it is still held; a removed bucket is made again. Raises FleetFault `moved` where it is not held."""
        bucket = await buckets.ensure(client, self.bucket)
        revision, holder = await self._look(bucket)
        if holder is not None and holder != self._holder:
            raise self._taken()
        await self._write(bucket, revision)

    async def give_back(self, client: Client) -> None:
        """Let the next pool have it at once."""
        bucket = await client.jetstream().key_value(self.bucket.bucket)
        _, holder = await self._look(bucket)
        if holder == self._holder:
            await bucket.delete(self._key, last=self._revision)

    async def _look(self, bucket: KeyValue) -> tuple[int, Holder | None]:
        try:
            entry = await bucket.get(self._key)
        except KeyNotFoundError as error:
            gone = getattr(error, "entry", None)
            return (gone.revision or 0 if gone is not None else 0), None
        try:
            return entry.revision or 0, msgspec.json.decode(entry.value or b"", type=Holder)
        except msgspec.DecodeError:
            return entry.revision or 0, Holder("unknown", "unknown")

    async def _write(self, bucket: KeyValue, revision: int) -> None:
        value = msgspec.json.encode(self._holder)
        try:
            self._revision = await bucket.update(self._key, value, last=revision)
        except KeyWrongLastSequenceError:
            raise self._taken() from None

    def _taken(self) -> FleetFault:
        return FleetFault("moved", f"another pool named {self._key.removeprefix('pool.')} is at work")
