"""The way back: what a pool has learned, offered to this sidecar's own gate."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from nats.aio.client import Client
from nats.aio.msg import Msg

from pipeline.artifacts import offer
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.offer import Slot
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import open_store
from pipeline.config import Settings
from pipeline.fleet import models, names
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from pipeline.fleet.models import Announcement, Entry
from pipeline.runtime.disk_jobs import BackOff, JobThread
from pipeline.runtime.logs import Logger
from pipeline.runtime.outage import LONGEST

_INTERVAL_S = 60.0
"""How often what the pool says is read where nothing was heard."""
_SPREAD_S = 0.2, 2.0
"""How long after a change was heard it is read: it is heard before it is stored, and by thousands at once."""


class ModelFollower:
    """Follows what the pool says is its newest model, fetches that, and offers it to the exporter, each digest once.

    announced   the digest that the pool names; empty for none, or one that was withdrawn
    offered     the digest that was offered last; given to the next life, none is offered twice
    problem     what keeps a model from being offered, in a line; empty for nothing
    failures    how often something did, by kind; goes on from the life before
    """

    def __init__(
        self,
        settings: Settings,
        link: Link,
        log: Logger,
        when_done: Callable[[], None] = lambda: None,
        offered: str = "",
        failures: dict[str, int] | None = None,
    ) -> None:
        self._settings, self._link, self._log, self._when_done = settings, link, log, when_done
        self.announced, self.offered = "", offered
        self.failures = {} if failures is None else failures
        self._problems: dict[str, str] = {}
        self._base = ""
        self._said: Announcement | None = None
        self._done_with: Announcement | None = None
        self._client: Client | None = None
        self._heard = threading.Event()
        self._reading: Future[Entry] | None = None
        self._read_at = 0.0
        self._thread: JobThread[str] = JobThread(when_done)
        self._back_off = {"read": BackOff(), "fetch": BackOff()}

    @property
    def problem(self) -> str:
        """What is wrong now."""
        return "; ".join(self._problems.values())

    @property
    def due_in(self) -> float:
        """Seconds until there is something to do; whatever else happens calls `when_done`."""
        due = math.inf
        if self._may_read:
            due = max(self._read_at - time.monotonic(), self._back_off["read"].seconds)
        if self._is_news and not self._thread.busy:
            due = min(due, self._back_off["fetch"].seconds)
        return max(0.0, due)

    def turn(self, base_sha256: str) -> None:
        """Do what is due, without waiting. `base_sha256`: the base model trained here; empty while it is not known."""
        if self._settings.fleet_registry is None:
            return
        if base_sha256 != self._base:
            self._base, self._said, self._read_at = base_sha256, None, 0.0
        self._take_in_read()
        if self._heard.is_set():
            self._heard.clear()
            self._read_at = min(self._read_at, time.monotonic() + random.uniform(*_SPREAD_S))  # noqa: S311  # no secret
        if self._client is None or self._client.is_closed:
            self._read_at = 0.0
        if self._may_read and max(self._read_at - time.monotonic(), self._back_off["read"].seconds) <= 0:
            base, self._read_at = self._base, time.monotonic() + _INTERVAL_S
            self._reading = self._link.begin(lambda client: self._watch_and_read(client, base))
        self._take_in_fetched()
        if self._is_news and not self._thread.busy and self._back_off["fetch"].seconds <= 0:
            assert self._said is not None
            self._begin(self._said)

    @property
    def _may_read(self) -> bool:
        return bool(self._base) and self._reading is None and self._link.is_up

    @property
    def _is_news(self) -> bool:
        return self._said is not None and self._said != self._done_with and self._said.digest != self.offered

    async def _watch_and_read(self, client: Client, base: str) -> Entry:
        """Listen for changes, then read: so none is missed. Runs in the connection's thread."""
        if client is not self._client:
            await client.subscribe(f"$KV.{names.bucket(self._settings.fleet_tenant)}.*", cb=self._hear)
            self._client = client
        return await models.read(client, self._settings.fleet_tenant, base)

    async def _hear(self, _message: Msg) -> None:
        self._heard.set()
        self._when_done()

    def _take_in_read(self) -> None:
        if self._reading is None or not self._reading.done():
            return
        reading, self._reading = self._reading, None
        try:
            entry = reading.result()
        except FleetFault as fault:
            if fault.kind != "lost":  # there is no bucket before a pool has announced something
                self._back_off["read"].failed()
                self._problems["read"] = f"fleet {fault.kind}: {str(fault)[:LONGEST]}"
                return
            entry = Entry(None, 0)
        self._back_off["read"].succeeded()
        self._problems.pop("read", None)
        if entry.said is not None and entry.said.base_sha256 != self._base:
            return  # the base model has changed meanwhile
        if entry.said != self._said:
            self._back_off["fetch"].succeeded()
            self._problems.pop("fetch", None)
        self._said = entry.said
        self.announced = entry.said.digest if entry.said else ""

    def _begin(self, said: Announcement) -> None:
        self._done_with = said
        if said.digest:
            self._thread.start(lambda: self._fetch(said))
        else:
            self._thread.start(self._withdraw)

    def _fetch(self, said: Announcement) -> str:
        """Put the model into the state directory; return its digest. Raises RegistryFault or OSError."""
        registry = self._settings.fleet_registry
        assert registry is not None
        trust = Trust.of(self._settings.registry_public_key)
        made = offer.fetch(open_store(registry), str(registry), said.digest, trust)
        if made is None:
            raise RegistryFault("garbage", f"{said.digest}: holds no model of a base model")
        if made.about.base_sha256 != said.base_sha256:
            raise RegistryFault(
                "garbage",
                f"{said.digest}: of base model {made.about.base_sha256[:12]}, here {said.base_sha256[:12]}",
            )
        if made.about.sha256 != said.sha256:
            raise RegistryFault(
                "garbage", f"{said.digest}: holds model {made.about.sha256[:12]}, the pool says {said.sha256[:12]}"
            )
        offer.write(self._settings.state_dir, made, Slot.FLEET)
        return said.digest

    def _withdraw(self) -> str:
        """Take back what has been offered and not judged; return what counts as offered then."""
        return "" if offer.withdraw(self._settings.state_dir, Slot.FLEET) else self.offered

    def _take_in_fetched(self) -> None:
        try:
            digest = self._thread.result()
        except (RegistryFault, OSError) as error:
            self._failed(error)
            return
        if digest is None:
            return
        self._back_off["fetch"].succeeded()
        self._problems.pop("fetch", None)
        if digest and digest != self.offered:
            self._log.info("offered", digest=digest)
        self.offered = digest

    def _failed(self, error: RegistryFault | OSError) -> None:
        kind = error.kind if isinstance(error, RegistryFault) else "local"
        reason = str(error)[:LONGEST]
        self.failures[kind] = self.failures.get(kind, 0) + 1
        self._problems["fetch"] = f"fleet's model, {kind}: {reason}"
        self._log.warning("fleet_model_failed", kind=kind, reason=reason)
        self._back_off["fetch"].failed()
        self._done_with = None
