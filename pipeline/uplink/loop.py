"""The uplink's loop: one message at a time, and the ring is the buffer.

How far it is, is noted when a message is acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from nats.aio.client import Client

from pipeline.fleet import names
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from pipeline.fleet.message import MOST_ROWS, pack
from pipeline.runtime.outage import LONGEST, Outage
from pipeline.runtime.process import Process
from pipeline.runtime.reports import UplinkReport
from pipeline.uplink.models import ModelFollower
from pipeline.uplink.quota import Quota, spread
from pipeline.uplink.source import Batch, Source

_ENOUGH = 32
"""Samples that are sent as soon as there are so many,"""
_LATEST_S = 5.0
"""or when the first has waited for so many seconds."""
_CLOSE_S = 2.0


def serve(process: Process[UplinkReport]) -> None:
    """Share samples with the fleet until told to stop."""
    process.saved.forget()
    uplink = Uplink(process)
    try:
        while not process.should_stop():
            uplink.turn()
            process.look_after()
            process.wait(uplink.due_in)
    finally:
        uplink.close()


@dataclass(frozen=True)
class _Message:
    batch: Batch
    payload: bytes
    name: str


class Uplink:
    """Sends what `Source` has, as far as the quota allows; a message that was not acknowledged is sent again."""

    def __init__(self, process: Process[UplinkReport]) -> None:
        self._process, settings = process, process.settings
        report = process.report
        report.fleet, report.node = ",".join(settings.fleet), settings.fleet_name
        self._source = Source(settings, process.board, report)
        self._quota = Quota(settings.fleet_quota, settings.replay_capacity // 2)
        self._link = Link(settings, report.node, process.bell.ring)
        self._message: _Message | None = None
        self._sending: Future[int] | None = None
        self._fleet = Outage("fleet", report)
        self._waiting_since: float | None = None
        self._models = ModelFollower(
            settings, self._link, process.log, process.bell.ring, report.offered, report.model_failures
        )
        process.phase("running")

    @property
    def due_in(self) -> float:
        """Seconds until there is something to do; infinite: nothing is known of it."""
        if self._sending is not None or self._message is None:
            return self._models.due_in
        return min(self._models.due_in, max(0.0, self._fleet.seconds))

    def turn(self) -> None:
        """Take in what has become of the last message, send the next, and report."""
        if self._sending is not None and self._sending.done():
            self._settle(self._sending)
        behind = self._source.look()
        if self._message is None:
            self._message = self._next(behind)
        if self._message is not None and self._sending is None and self._fleet.seconds <= 0:
            self._sending = self._link.begin(self._publish(self._message))
        self._models.turn(self._source.base)
        self._report(behind)

    def close(self) -> None:
        """Wait a moment for the message that is on its way."""
        until = time.monotonic() + _CLOSE_S
        while self._sending is not None and time.monotonic() < until:
            if self._sending.done():
                self._settle(self._sending)
            else:
                self._process.bell.wait(0.05)
        self._report(self._source.look())
        self._process.reporter.publish()
        self._link.close()

    def _next(self, behind: int) -> _Message | None:
        """Make a message where there are samples enough, or have been waiting long enough."""
        now = time.monotonic()
        if not behind or not self._source.base:
            self._waiting_since = None
            return None
        self._waiting_since = self._waiting_since or now
        allowed = self._quota.left()
        ready = min(behind, allowed)
        if not ready or (ready < _ENOUGH and now - self._waiting_since < _LATEST_S):
            return None
        window = self._quota.window(behind, allowed, MOST_ROWS)
        return self._made(self._source.take(window), min(allowed, MOST_ROWS))

    def _made(self, batch: Batch | None, most: int) -> _Message | None:
        if batch is None:
            return None
        self._waiting_since = None
        chosen = spread(batch.rows, most)
        rows = batch.rows.select(chosen)
        left_out = batch.left_out + len(batch.rows) - len(rows)
        settings, sent = self._process.settings, self._process.report.sent
        self._quota.use(len(rows))
        payload = pack(rows, base=self._source.base, target=settings.target, sent=sent) if len(rows) else b""
        name = f"{batch.ring:x}-{batch.start}-{batch.end}-{len(rows)}"
        return _Message(replace(batch, rows=rows, left_out=left_out), payload, name)

    def _publish(self, message: _Message) -> Callable[[Client], Awaitable[int]]:
        subject = names.subject(self._process.settings.fleet_tenant, self._process.report.node)

        async def job(client: Client) -> int:
            if not message.payload:
                return 0
            ack = await client.jetstream().publish(subject, message.payload, headers={"Nats-Msg-Id": message.name})
            return ack.seq

        return job

    def _settle(self, sending: Future[int]) -> None:
        self._sending = None
        message, report = self._message, self._process.report
        assert message is not None
        try:
            sending.result()
        except FleetFault as fault:
            self._failed(fault)
            return
        self._message = None
        report.sent += len(message.batch.rows)
        report.left_out += message.batch.left_out
        report.missed += message.batch.missed
        report.ring, report.cursor = message.batch.ring, message.batch.end
        report.sent_at = time.time()
        if report.failing:
            self._process.log.info("fleet_reached", fleet=report.fleet)
        self._fleet.ended()

    def _failed(self, fault: FleetFault) -> None:
        report = self._process.report
        report.failures[fault.kind] = report.failures.get(fault.kind, 0) + 1
        if not report.failing:
            self._process.log.warning("fleet_failed", kind=fault.kind, reason=str(fault)[:LONGEST])
        self._fleet.failed()
        self._fleet.began(fault.kind, str(fault))

    def _report(self, behind: int) -> None:
        report = self._process.report
        report.behind, report.announced, report.offered = behind, self._models.announced, self._models.offered
        self._process.show("running", self._fleet.problem, self._models.problem)
