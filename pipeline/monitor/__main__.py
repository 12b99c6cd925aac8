"""The monitor process: `python -m pipeline.monitor`, an event listener of supervisord."""

from __future__ import annotations

import os
import signal
import sys

from pipeline.monitor.events import EventStream
from pipeline.monitor.watchdog import Watchdog
from pipeline.process import Process, main
from pipeline.telemetry import MonitorReport

_POLL_S = 0.5


def serve(process: Process[MonitorReport]) -> None:
    """Follow events and heartbeats until the supervisor goes."""
    events = EventStream()
    watchdog = Watchdog(process.board, process.settings.hang_s, process.log)
    watchdog.restarts = dict(process.report.restarts)
    process.phase("watching")
    while not (process.should_stop() or events.ended):
        event = events.poll(_POLL_S)
        if event is not None:
            watchdog.on_event(event)
        watchdog.check_heartbeats()
        process.report.restarts = watchdog.restarts
        if watchdog.verdict and not process.report.verdict:
            process.report.verdict = watchdog.verdict
            process.log.error("ending_sidecar", code=int(watchdog.verdict))
            process.phase("ending", f"the sidecar ends with code {int(watchdog.verdict)}")
            os.kill(os.getppid(), signal.SIGTERM)
        process.reporter.beat()


if __name__ == "__main__":
    sys.exit(main("monitor", MonitorReport, serve))
