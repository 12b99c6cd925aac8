"""Reads the stream through a link: opens it where the position says, fetches ahead, acknowledges what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg

from pipeline.config import Settings
from pipeline.fleet import names, stream
from pipeline.fleet.faults import FleetFault, fault_of
from pipeline.fleet.lease import Holder, Lease
from pipeline.fleet.stream import Found
from pipeline.intake.pull import Pull
from pipeline.intake.received import Received, in_order

OPEN_S = 60.0
"""As long as another pool's lease may have to be waited for, and more."""


class Looked(NamedTuple):
    """How many messages wait, and why the lease could not be renewed; None where it was."""

    unread: int
    fault: FleetFault | None


class Reader:
    """What is asked of the servers; each method begins it and returns the future. One fetch at a time."""

    def __init__(self, settings: Settings, owner: str, life: str) -> None:
        self._settings = settings
        self._lease = Lease(settings.fleet_tenant, settings.pool, Holder(owner, life), settings.fleet_replicas)
        self._pull: Pull | None = None

    def open(self, made: str, read: int) -> Callable[[Client], Awaitable[Found]]:
        """Take the lease and begin behind `read`, in the stream that was made at `made`; from its start in another."""

        async def job(client: Client) -> Found:
            await self._lease.take(client)
            found = await stream.ensure(client, self._settings)
            first = read + 1 if found.made == made and read <= found.last else 1
            await stream.read_from(client, self._settings.fleet_tenant, self._durable, first)
            await self._begin(client)
            return found

        return job

    async def _begin(self, client: Client) -> None:
        """Pull from the consumer as it is now, and from none before it."""
        if self._pull is not None:
            await self._pull.end()
        self._pull = Pull(client, names.stream(self._settings.fleet_tenant), self._durable)
        await self._pull.begin()

    @property
    def _durable(self) -> str:
        return f"pool-{self._settings.pool}"

    def fetch(self, after: int) -> Callable[[Client], Awaitable[tuple[list[Received], Msg | None]]]:
        """Fetch what comes after a sequence; with the message whose acknowledgement is that of all before it."""

        async def job(_client: Client) -> tuple[list[Received], Msg | None]:
            assert self._pull is not None, "open it first"
            messages = await self._pull.next()
            return in_order(messages, after), messages[-1] if messages else None

        return job

    def look(self) -> Callable[[Client], Awaitable[Looked]]:
        """Ask how many messages wait, and hold the lease, which a server with a full disk cannot do.

        FleetFault `lost` where the consumer is gone, `moved` where another pool has the lease.
        """
        stream_name = names.stream(self._settings.fleet_tenant)

        async def job(client: Client) -> Looked:
            info = await client.jetstream().consumer_info(stream_name, self._durable)
            return Looked(info.num_pending or 0, await self._renewed(client))

        return job

    async def _renewed(self, client: Client) -> FleetFault | None:
        """Renew the lease; return what is in the way. Only another pool ends the reading."""
        try:
            await self._lease.renew(client)
        except Exception as error:
            fault = fault_of(error)
            if fault.kind == "moved":
                raise fault from None
            return fault
        return None

    def give_back(self) -> Callable[[Client], Awaitable[None]]:
        """Let the next pool of the name begin at once."""
        return self._lease.give_back
