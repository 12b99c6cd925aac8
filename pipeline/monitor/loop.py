"""The monitor's loop: follows events and heartbeats, records history, and keeps the HTTP server up."""

from __future__ import annotations

import time

from pipeline.monitor.events import EventStream
from pipeline.monitor.history_writer import Archive
from pipeline.monitor.record import Record
from pipeline.monitor.routes import Routes
from pipeline.monitor.server import HttpServer
from pipeline.monitor.usage import Usages
from pipeline.monitor.watchdog import Watchdog
from pipeline.runtime.health import examine
from pipeline.runtime.journal import open_journals
from pipeline.runtime.process import Process
from pipeline.runtime.reports import MonitorReport

_BIND_AGAIN_S = 5.0
_LAST_SAVE_S = 1.5


def serve(process: Process[MonitorReport]) -> None:
    """Follow events and heartbeats, and answer HTTP, until the supervisor goes."""
    events = EventStream(bell=process.bell)
    process.saved.forget()
    watchdog = Watchdog(process.board, process.settings.hang_s, process.log)
    watchdog.restarts = _restarts(process)
    record = Record()
    archive = Archive(process.settings, record, process.board, process.log)
    web = _Web(process, record)
    archive.start()
    process.phase("watching")
    while not (process.should_stop() or events.ended):
        event = events.poll(process.tick)
        if event is not None:
            watchdog.on_event(event)
        watchdog.check()
        process.report.restarts = watchdog.restarts
        health = examine(process.board)
        record.sample(health)
        archive.notice(health.exporter)
        web.keep_up()
        process.look_after()
        _report_problems(process, web.problem, archive.problem)
        if event is not None:
            process.reporter.publish()
        process.reporter.beat()
    web.stop()
    archive.stop(_LAST_SAVE_S)


def _restarts(process: Process[MonitorReport]) -> dict[str, int]:
    """Return the restarts of earlier lives, with this one if the monitor itself ended unexpectedly in this run."""
    restarts = dict(process.report.restarts)
    previous = process.reporter.previous
    if previous.pid and previous.phase != "stopped":
        restarts["monitor"] = restarts.get("monitor", 0) + 1
    return restarts


def _report_problems(process: Process[MonitorReport], *problems: str) -> None:
    problem = "; ".join(filter(None, problems))
    if process.report.phase == "watching" and problem != process.report.problem:
        process.phase("watching", problem)


class _Web:
    """The HTTP server, for which the address may not be free yet: then `problem` says why."""

    def __init__(self, process: Process[MonitorReport], record: Record) -> None:
        self._process = process
        journals = open_journals(process.settings)
        self._routes = Routes(process.board, journals, record, Usages()).table()
        self._server: HttpServer | None = None
        self._try_at = 0.0
        self.problem = ""

    def keep_up(self) -> None:
        """Start the server if it is not running; where that fails, say why and try again later."""
        if self._server is not None:
            self._server.close_overdue()
        address = self._process.settings.http
        if address is None or self._server is not None or time.monotonic() < self._try_at:
            return
        try:
            self._server = HttpServer(address, self._routes, self._process.settings.http_hosts)
        except (OSError, OverflowError) as error:
            self._try_at = time.monotonic() + _BIND_AGAIN_S
            host, port = address
            self.problem = f"VMAFX_SIDECAR_HTTP={host}:{port}: {error}; trying again"
            return
        self._server.start()
        self._process.report.http = self._server.url
        self._process.log.info("http_listening", url=self._server.url)
        self.problem = ""

    def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.stop()
