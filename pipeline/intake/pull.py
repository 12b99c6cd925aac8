"""Pulls the messages of a consumer: asks for many at a time, and hands over what has come as soon as some has.

In the place of the client's own `fetch`, which waits for each message by itself: that is most of what a reader costs.
"""

from __future__ import annotations

import asyncio
import json

from nats.aio.client import Client
from nats.aio.msg import Msg

from pipeline.fleet.faults import FleetFault

MOST_MESSAGES = 128
"""Messages that are under way at a time,"""
_MOST_BYTES = 4 << 20
"""and bytes of them."""
_EXPIRES_S = 5.0
_NOTHING_MORE = {"404", "408"}
"""What the server says of a request: there is nothing, or its time is over;"""
_FULL, _DONE = "MaxBytes", "Batch Completed"
"""its limit of bytes is reached, or all has come. Whatever else it says, the consumer has to be made anew."""


class Pull:
    """A reader of durable consumer `durable` of `stream`; `begin` first, and `end` in the end."""

    def __init__(self, client: Client, stream: str, durable: str) -> None:
        self._client, self._subject = client, f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._inbox = client.new_inbox()
        self._wanted = 0
        self._messages: list[Msg] = []
        self._heard = asyncio.Event()
        self._fault: FleetFault | None = None

    async def begin(self) -> None:
        """Listen to what will be asked for."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._hear)

    async def end(self) -> None:
        """Listen no longer."""
        if not self._client.is_closed:
            await self._subscription.unsubscribe()

    async def next(self) -> list[Msg]:
        """Return the messages that have come, in the stream's order; wait for the first.

        Returns none after five seconds without. Raises FleetFault, "lost": there is no such consumer any more.
        """
        if self._wanted <= 0:
            await self._ask()
        if not self._messages:
            await self._heard.wait()
        self._heard.clear()
        if self._fault is not None:
            raise self._fault
        messages, self._messages = self._messages, []
        return messages

    async def _ask(self) -> None:
        self._wanted = MOST_MESSAGES
        wanted = {"batch": MOST_MESSAGES, "max_bytes": _MOST_BYTES, "expires": int(_EXPIRES_S * 1e9)}
        await self._client.publish(self._subject, json.dumps(wanted).encode(), reply=self._inbox)

    async def _hear(self, message: Msg) -> None:
        """Take in a message of the stream, or, where no answer is wanted, what the server says of the request."""
        if message.reply:
            self._messages.append(message)
            self._wanted -= 1
        else:
            self._take_in_status(message.headers or {})
        self._heard.set()

    def _take_in_status(self, said: dict[str, str]) -> None:
        """Take in what the server says of a request; those that it has done with are made up for by the next."""
        status, text = said.get("Status", ""), said.get("Description", "")
        if status in _NOTHING_MORE or _FULL in text:
            self._wanted -= int(said.get("Nats-Pending-Messages", self._wanted))
        elif _DONE not in text:
            self._fault = FleetFault("lost", f"{status} {text}".strip() or "the consumer is gone")
