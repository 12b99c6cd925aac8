"""The intake's loop: takes samples from the stream into the ring, no faster than the trainer reads them, and reports.

What does not fit waits in the stream: nothing that was acknowledged leaves the ring before it was learned from.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import Future
from typing import Any

import numpy as np
from nats.aio.msg import Msg

from pipeline.fleet import names
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.lease import RENEW_S
from pipeline.fleet.link import Link
from pipeline.fleet.message import MOST_ROWS
from pipeline.fleet.stream import Found
from pipeline.ingest.dedup import name_hashes
from pipeline.ingest.forgotten import Follower as Forgotten
from pipeline.ingest.names_region import own_names
from pipeline.intake.admission import Admission
from pipeline.intake.position import own_position
from pipeline.intake.reader import OPEN_S, Looked, Reader
from pipeline.intake.received import Received
from pipeline.intake.seen import SeenKeys
from pipeline.runtime import regions, restore
from pipeline.runtime.lifecycle import Ending, ExitCode
from pipeline.runtime.outage import LONGEST, Outage
from pipeline.runtime.process import Process
from pipeline.runtime.reports import Follower, IngestReport, TrainerReport

_FULL_S = 0.02
"""How soon the ring is looked at again while the trainer has to make room."""
_CLOSE_S = 2.0
_NAMED = 5
"""Senders that a problem names at most."""
_LONGEST_WHY = 80
_NAME_S = 60.0
"""How often those are named anew of which samples are left out: each of them sends in this time."""


def serve(process: Process[IngestReport]) -> None:
    """Take samples from the fleet's stream into the ring until told to stop."""
    intake = Intake(process)
    try:
        while not process.should_stop():
            intake.turn()
            process.look_after()
            process.wait(intake.due_in)
    finally:
        intake.close()


class Intake:
    """One fetch is under way while what came before is stored."""

    def __init__(self, process: Process[IngestReport]) -> None:
        self._process, settings = process, process.settings
        self._ring, opened = regions.own_ring(settings)
        restored = restore.fill_ring(self._ring, process.saved) or opened.is_new
        self._forgotten = Forgotten(settings, process.log)
        self._names, names_region = own_names(process)
        self._names.owners.unnamed = self._forgotten.tombstones.names
        self._published, position_region = own_position(process, restored=restored)
        process.saved.forget()
        process.own(opened.segment, names_region, position_region)
        newest, _ = self._ring.snapshot()
        self._position = self._published.position
        self._admission = Admission(
            self._ring,
            SeenKeys(settings.replay_capacity, newest.key),
            self._names.owners,
            self._position,
            tenant=settings.fleet_tenant,
            target=settings.target,
            quota=settings.fleet_quota,
            tombstones=self._forgotten.tombstones,
        )
        self._trainer = Follower(process.board, "trainer", TrainerReport)
        self._trainers_bell = regions.bell(settings, process.board, "trainer")
        self._link = Link(settings, f"pool-{settings.pool}", process.bell.ring)
        self._reader = Reader(settings, self._position.owner, secrets.token_hex(8))
        self._opening: Future[Found] | None = None
        self._is_open = False
        self._fetching: Future[tuple[list[Received], Msg | None]] | None = None
        self._fetched_to = 0
        self._waiting: list[Received] = []
        self._last: Msg | None = None
        self._looking: Future[Looked] | None = None
        self._looked_at = 0.0
        self._fleet = Outage("fleet", process.report)
        self._distrusted: list[int] | None = None  # not known: the report goes on from the life before
        self._unused, self._named_at = "", 0.0
        report = process.report
        report.stream = f"{','.join(settings.fleet)} {names.stream(settings.fleet_tenant)}"
        report.n_features, report.capacity, report.socket = settings.n_features, self._ring.capacity, ""
        self._before = report.resent, report.forgotten
        self._rejected_before = dict(report.rejected)
        self._report()

    @property
    def due_in(self) -> float | None:
        """Seconds until there is something to do; None: what is under way rings when it is done."""
        if self._waiting:
            return _FULL_S
        return max(0.0, self._fleet.seconds) if not self._is_open and self._opening is None else None

    def turn(self) -> None:
        """Take in what has come, store what there is room for, ask for more, and report."""
        self._forgotten.refresh()
        self._trainer.refresh()
        self._names.owners.unnamed = self._forgotten.tombstones.names
        try:
            self._open()
            self._look()
            self._take_in()
        except FleetFault as fault:
            self._failed(fault)
        self._store()
        self._ask()
        self._report()

    def close(self) -> None:
        """Let the next one have the lease at once."""
        self._report()
        if self._is_open:
            self._wait_for(self._link.begin(self._reader.give_back()))
        self._link.close()

    def _open(self) -> None:
        if self._is_open:
            return
        if self._opening is None:
            if self._fleet.seconds <= 0 and self._trainer_is_known:
                self._opening = self._link.begin(self._reader.open(self._position.made, self._position.read), OPEN_S)
            return
        if not self._opening.done():
            return
        opening, self._opening = self._opening, None
        found = opening.result()
        self._is_open = True
        if found.made != self._position.made or self._position.read > found.last:
            if self._position.made:
                self._process.log.warning("stream_is_another", made=found.made, before=self._position.made)
            self._position.made, self._position.read = found.made, 0
        self._published.publish()
        self._fetched_to, self._looked_at = self._position.read, time.monotonic()
        self._tell(None)
        self._process.log.info(
            "reading", stream=self._process.report.stream, after=self._position.read, last=found.last
        )

    @property
    def _trainer_is_known(self) -> bool:
        """Whether the base model is known, without which no sample can be told to fit."""
        return bool(self._trainer.report.base_digest)

    def _look(self) -> None:
        """Renew the lease, and ask how much is unread."""
        if self._looking is not None and self._looking.done():
            looking, self._looking = self._looking, None
            looked = looking.result()
            self._process.report.unread = looked.unread + len(self._waiting)
            self._tell(looked.fault)
        if self._is_open and self._looking is None and time.monotonic() - self._looked_at >= RENEW_S:
            self._looked_at = time.monotonic()
            self._looking = self._link.begin(self._reader.look())

    def _take_in(self) -> None:
        if self._fetching is None or not self._fetching.done():
            return
        fetching, self._fetching = self._fetching, None
        received, last = fetching.result()
        if received:
            self._waiting += received
            self._fetched_to = received[-1].sequence
        self._last = last or self._last

    def _ask(self) -> None:
        """Fetch the next messages while those before are stored."""
        if self._is_open and self._fetching is None and not self._waiting:
            self._fetching = self._link.begin(self._reader.fetch(self._fetched_to))

    def _store(self) -> None:
        """Put into the ring what the trainer has room for, and acknowledge once all that was fetched is there."""
        if not self._waiting:
            return
        count = self._room // MOST_ROWS
        if not count:
            return
        messages, self._waiting = self._waiting[:count], self._waiting[count:]
        self._admission.admit(messages, self._trainer.report.base_digest)
        self._names.publish()
        self._published.publish()
        self._trainers_bell.ring_if_waiting()
        if not self._waiting and self._last is not None:
            last, self._last = self._last, None
            self._link.begin(lambda _client: last.ack())

    @property
    def _room(self) -> int:
        """Rows that can be stored before one is written over that the trainer has not read."""
        return self._ring.capacity - max(0, self._ring.head - self._trainer.report.cursor)

    def _failed(self, fault: FleetFault) -> None:
        """Begin anew after a while, where the position says; another pool of this name ends this one."""
        if fault.kind == "moved":
            raise Ending(ExitCode.ALREADY_RUNNING, f"VMAFX_POOL: {fault}")
        self._is_open = False
        self._opening = self._fetching = self._looking = self._last = None
        self._waiting = []
        self._fleet.failed()
        self._tell(fault)

    def _tell(self, fault: FleetFault | None) -> None:
        """Report what is wrong; None for nothing."""
        report = self._process.report
        if fault is None:
            if report.failing:
                self._process.log.info("fleet_reached", fleet=report.stream)
            self._fleet.ended()
        else:
            if report.failing != fault.kind:
                self._process.log.warning("fleet_failed", kind=fault.kind, reason=str(fault)[:LONGEST])
            self._fleet.began(fault.kind, str(fault))

    def _report(self) -> None:
        report, admission, position = self._process.report, self._admission, self._position
        report.accepted, report.senders = self._ring.head, len(position.senders)
        report.over_quota, report.lost = position.total("over_quota"), position.total("lost")
        report.resent, report.forgotten = self._before[0] + admission.resent, self._before[1] + admission.forgotten
        for reason, count in admission.rejected.items():
            report.rejected[reason] = self._rejected_before.get(reason, 0) + count
        self._name_distrusted()
        self._name_unused()
        self._process.show("accepting", self._fleet.problem, _unlike(report.distrusted), self._unused)

    def _name_unused(self) -> None:
        """Say by name whose samples are left out, and why: the first at once, others with all after a while."""
        unused, now = self._admission.unused, time.monotonic()
        if not (unused or self._unused) or (self._unused and now < self._named_at + _NAME_S):
            return
        self._unused, self._named_at = _left_out(unused), now
        unused.clear()

    def _name_distrusted(self) -> None:
        """Say by name from which senders the trainer does not learn; it knows hashes."""
        hashes, report = self._trainer.report.distrusted, self._process.report
        if hashes == self._distrusted:
            return
        self._distrusted = hashes
        senders = sorted(self._position.senders)
        named = np.array(senders)[np.isin(name_hashes(senders), np.array(hashes, np.uint64))].tolist()
        if named != report.distrusted:
            self._process.log.warning("senders_distrusted", nodes=named)
        report.distrusted = named

    def _wait_for(self, future: Future[Any]) -> None:
        until = time.monotonic() + _CLOSE_S
        while not future.done() and time.monotonic() < until:
            self._process.bell.wait(0.05)


def _unlike(distrusted: list[str]) -> str:
    """Return the problem of senders from which nothing is learned, in a line; empty for none."""
    if not distrusted:
        return ""
    return f"scores that do not fit the others', not learned from: {_first(distrusted)}"


def _left_out(unused: dict[str, str]) -> str:
    """Return the problem of senders whose samples are left out, in a line; empty for none. They may say anything."""
    if not unused:
        return ""
    said = (f"{node} ({ascii(why)[1:-1][:_LONGEST_WHY]})" for node, why in sorted(unused.items()))
    return f"samples that are not taken: {_first(list(said))}"


def _first(named: list[str]) -> str:
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{', '.join(named[:_NAMED])}{more}"
