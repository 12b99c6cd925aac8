"""The connection to a fleet's servers, in a thread of its own: whoever uses it never waits for a network."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nats.aio.client import Client

from pipeline.config import Settings
from pipeline.fleet import keys, names
from pipeline.fleet.client import FleetClient
from pipeline.fleet.faults import FleetFault, fault_of

T = TypeVar("T")

ANSWER_S = 10.0
"""How long an answer may take, in seconds."""
_DIAL_S = 5
_CLOSE_S = 1.0
"""How long the end of a connection may take: a server that is halted never answers the end of TLS."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 15.0
_PING_S, _PINGS = 10, 2
_ANOTHER_MAY_ANSWER = {"down", "slow"}
"""Faults of one server of several."""

# asyncio warns at the end of each encrypted connection of this client, of nothing that matters.
logging.getLogger("asyncio").addFilter(lambda record: "eof_received" not in str(record.msg))


def ask(settings: Settings, name: str, job: Callable[[Client], Awaitable[T]]) -> T:
    """Have a job done on a connection of its own, and wait for it. Raises FleetFault."""
    link = Link(settings, name)
    try:
        link.wait(ANSWER_S)
        return link.begin(job).result()
    finally:
        link.close()


class Link:
    """A connection that is made again whenever it is lost. `when_done` is called after each job, and at each change.

    The client's own reconnection is off: it would keep what was to be sent, and nobody could say what has arrived.
    """

    def __init__(self, settings: Settings, name: str, when_done: Callable[[], None] = lambda: None) -> None:
        self._settings, self._name, self._when_done = settings, name, when_done
        self._servers = random.sample(settings.fleet, len(settings.fleet))
        self._client: Client | None = None
        self._fault: FleetFault | None = FleetFault("down", "not connected yet")
        self._refusal: FleetFault | None = None
        self._tried = threading.Event()
        self._refusals: list[FleetFault] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._stay_connected(), self._loop)

    @property
    def fault(self) -> FleetFault | None:
        """Why there is no connection; None while there is one."""
        return self._fault

    @property
    def is_up(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._client is not None

    def wait(self, limit_s: float) -> None:
        """Wait until there is a connection. Raises FleetFault once it is known why none of the servers gives one."""
        if not self._tried.wait(limit_s) or self._client is None:
            raise self._fault or FleetFault("slow", f"no answer within {limit_s:g} s")

    def begin(self, job: Callable[[Client], Awaitable[T]], limit_s: float = ANSWER_S) -> Future[T]:
        """Have `job` done on the connection; what fails in it is a FleetFault in the future's place."""
        future = asyncio.run_coroutine_threadsafe(self._do(job, limit_s), self._loop)
        future.add_done_callback(lambda _: self._when_done())
        return future

    def close(self) -> None:
        """Give up the connection and whatever is under way."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(timeout=2 * _DIAL_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_DIAL_S)
        self._loop.close()

    async def _do(self, job: Callable[[Client], Awaitable[T]], limit_s: float) -> T:
        if self._client is None:
            raise self._fault or FleetFault("down", "not connected")
        known = self._refusal
        try:
            return await asyncio.wait_for(job(self._client), limit_s)
        except Exception as error:
            fault = fault_of(error)
            if fault.kind == "slow" and self._refusal is not None and self._refusal is not known:
                fault = self._refusal
            raise fault from None

    async def _stay_connected(self) -> None:
        pause, failed = _FIRST_PAUSE_S, 0
        while True:
            closed = asyncio.Event()
            try:
                self._client = await self._connect(closed)
            except Exception as error:
                self._fault, failed = fault_of(error), failed + 1
                self._servers.append(self._servers.pop(0))
                if failed >= len(self._servers) or self._fault.kind not in _ANOTHER_MAY_ANSWER:
                    self._tried.set()
            else:
                self._fault, pause, failed = None, _FIRST_PAUSE_S, 0
                self._tried.set()
                self._when_done()
                await closed.wait()
                self._client, self._fault = None, FleetFault("down", "the connection was lost")
            self._when_done()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _connect(self, closed: asyncio.Event) -> Client:
        settings = self._settings

        async def is_closed() -> None:
            closed.set()

        async def is_told(error: Exception) -> None:
            self._is_told(fault_of(error))

        if settings.fleet_key is not None:
            keys.public(settings.fleet_key)
        may_encrypt = settings.fleet_ca or any(server.startswith("tls://") for server in settings.fleet)
        client = FleetClient()
        await client.connect(
            self._servers,
            dont_randomize=True,
            name=f"vmafx-sidecar {self._name}",
            allow_reconnect=False,
            connect_timeout=_DIAL_S,
            ping_interval=_PING_S,
            max_outstanding_pings=_PINGS,
            closed_cb=is_closed,
            error_cb=is_told,
            inbox_prefix=names.pool_inbox(settings.pool) if settings.pool else names.inbox(settings.fleet_name),
            tls=_trusting(settings.fleet_ca) if may_encrypt else None,
            nkeys_seed=str(settings.fleet_key) if settings.fleet_key else None,
        )
        return client

    def _is_told(self, fault: FleetFault) -> None:
        """Keep what the server says apart from answers. What a key may not do, it does not answer but says here."""
        if fault.kind == "refused" and self._client is not None:
            self._refusal = fault
        else:
            self._fault = fault

    async def _close(self) -> None:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        if self._client is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._client.close(), _CLOSE_S)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _trusting(authority: Path | None) -> ssl.SSLContext:
    """Return how servers are checked: by the certificates in a file, or those of the system. Raises FleetFault."""
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise FleetFault("local", f"{authority}: expected a certificate (PEM): {error.strerror}") from None
