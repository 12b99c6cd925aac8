"""Ingest's loop: takes samples from the socket into the ring, and reports."""

from __future__ import annotations

from pipeline.ingest.admission import Admission
from pipeline.ingest.answers import AnswerPrefix
from pipeline.ingest.copies import Copies
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.forgotten import Follower
from pipeline.ingest.listener import obtain
from pipeline.ingest.names_region import own_names
from pipeline.ingest.opinions import Opinions
from pipeline.ingest.server import Server
from pipeline.runtime import regions, restore
from pipeline.runtime.process import Process
from pipeline.runtime.reports import IngestReport
from pipeline.shm.ring import Ring

_DRAIN_S = 2.0


def serve(process: Process[IngestReport]) -> None:
    """Take samples from the socket into the ring until told to stop."""
    settings = process.settings
    ring, opened = regions.own_ring(settings)
    restored = restore.fill_ring(ring, process.saved)
    forgotten = Follower(settings, process.log)
    names, names_region = own_names(process)
    names.owners.unnamed = forgotten.tombstones.names
    process.saved.forget()
    newest, _ = ring.snapshot()
    resends = Deduplicator(settings.replay_capacity, newest.key.tolist())
    opinions = Opinions(settings.opinion_range) if settings.opinion_range else None
    answers = AnswerPrefix(process.board, settings.checkpoint_dir)
    admission = Admission(
        ring,
        resends,
        settings.max_line_bytes,
        names.owners,
        opinions,
        tenants=settings.tenants,
        copies=_copies(process, ring, answers),
        tombstones=forgotten.tombstones,
    )
    listener = obtain(settings)
    server = Server(settings, listener, admission, answers)
    server.wake_for(process.bell)
    process.own(opened.segment, names_region, listener)
    report = process.report
    report.socket, report.n_features, report.capacity = str(settings.socket), settings.n_features, ring.capacity
    count = _Counts(process, server, admission, ring.head)
    process.log.info("listening", socket=str(settings.socket), samples=ring.head, restored=restored)
    process.phase("accepting")
    trainer = regions.bell(settings, process.board, "trainer")
    unreported = False
    while not process.should_stop():
        head = ring.head
        unreported |= server.round(process.reporter.due_in if unreported else process.tick)
        if ring.head != head:
            trainer.ring_if_waiting()
        if process.reporter.due:
            forgotten.refresh()
            names.owners.unnamed = forgotten.tombstones.names
            names.publish()
            count.report(ring.head)
            unreported = False
        process.look_after()
    process.phase("draining")
    server.drain(_DRAIN_S)
    names.publish()
    count.report(ring.head)
    process.log.info("drained", samples=ring.head)


def _copies(process: Process[IngestReport], ring: Ring, answers: AnswerPrefix) -> Copies | None:
    """Open the ring of bytes where there is an archive; else let none lie about."""
    settings = process.settings
    process.report.archiving = settings.archive_dir is not None
    if settings.archive_dir is None:
        regions.remove_lines(settings)
        return None
    lines, opened = regions.own_lines(settings)
    process.own(opened.segment)
    archive = regions.bell(settings, process.board, "archive")
    return Copies(lines, ring, answers.moment, archive.ring_if_waiting)


class _Counts:
    """Adds the loop's counters to those of earlier starts, in the report."""

    def __init__(self, process: Process[IngestReport], server: Server, admission: Admission, head: int) -> None:
        self._process, self._server, self._admission = process, server, admission
        before = process.report
        self._before = (before.connections_total, before.connections_refused, before.bytes_received)
        self._left_out_before = before.resent, before.forgotten
        self._rejected_before = dict(before.rejected)
        self.report(head)

    def report(self, head: int) -> None:
        """Publish the counters as they are now."""
        report, server, admission = self._process.report, self._server, self._admission
        total, refused, received = self._before
        resent, forgotten = self._left_out_before
        report.accepted = head
        report.connections, report.connections_waiting = len(server), server.waiting
        report.connections_total = total + server.connections_total
        report.connections_refused = refused + server.connections_refused
        report.resent = resent + admission.resent
        report.forgotten = forgotten + admission.forgotten
        report.bytes_received = received + server.bytes_received
        for reason, count in admission.rejected.items():
            report.rejected[reason] = self._rejected_before.get(reason, 0) + count
        if server.refusal:
            self._process.log.warning("connection_refused", reason=server.refusal, refused=report.connections_refused)
            server.refusal = ""
        self._process.reporter.publish()
