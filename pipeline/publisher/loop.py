"""The publisher's loop: has passes made by a thread, which may wait for the registry, and reports."""

from __future__ import annotations

import time

from pipeline.artifacts.faults import RegistryFault
from pipeline.checkpoints.checkpoint import CheckpointError
from pipeline.publisher.announce import Announcer
from pipeline.publisher.passes import Passes, Seen
from pipeline.runtime.disk_jobs import JobThread
from pipeline.runtime.outage import LONGEST, Outage
from pipeline.runtime.process import Process
from pipeline.runtime.reports import PublisherReport

_LOOK_S = 5.0
"""How often the directory is looked at; the registry more seldom (`Passes`)."""
_SLOW_S = 45.0
"""A pass that takes longer than this waits for the registry."""


def serve(process: Process[PublisherReport]) -> None:
    """Keep the registry in line with the checkpoint directory until told to stop."""
    publisher = _Publisher(process)
    while not process.should_stop():
        publisher.turn()
        process.look_after()
        process.wait(publisher.due_in)


class _Publisher:
    def __init__(self, process: Process[PublisherReport]) -> None:
        process.saved.forget()
        self._process = process
        report, registry = process.report, str(process.settings.registry or "")
        if report.registry != registry:
            report.pushed, report.pushed_version, report.pushed_at, report.offered = "", 0, 0.0, ""
            report.pointed, report.pointed_version = "", 0
            report.failing, report.failing_since, report.waiting_since = "", 0.0, 0.0
            report.announced, report.announcing_failing, report.announcing_failing_since = "", "", 0.0
        report.registry = registry
        self._passes = Passes(process.settings, process.log)
        self._thread: JobThread[Seen] = JobThread(when_done=process.bell.ring)
        self._registry = Outage("registry", report)
        self._looked_at = -_LOOK_S
        settings = process.settings
        is_pool = bool(settings.pool and settings.fleet and settings.registry)
        self._announcer = Announcer(settings, process.log, process.bell.ring) if is_pool else None
        self._show()

    @property
    def due_in(self) -> float:
        """Seconds until there is something to do."""
        announcing = self._announcer.due_in if self._announcer else _LOOK_S
        return min(announcing, _LOOK_S if self._thread.busy else self._pass_in)

    @property
    def _pass_in(self) -> float:
        return max(0.0, self._looked_at + _LOOK_S - time.monotonic(), self._registry.seconds)

    def turn(self) -> None:
        """Take in what a pass has found, begin the next when it is due, and report."""
        self._take_in()
        if not self._thread.busy and self._pass_in <= 0:
            self._looked_at = time.monotonic()
            report = self._process.report
            last, version, offered = report.pushed, report.pushed_version, report.offered
            self._thread.start(lambda: self._passes.run(last, version, offered))
        if self._thread.busy_seconds > _SLOW_S:
            self._registry.began("slow", f"no answer for {self._thread.busy_seconds:.0f} s")
        if self._announcer is not None:
            self._announcer.turn(self._process.report, self._process.board.trainer().base_digest)
        self._show()

    def _take_in(self) -> None:
        try:
            seen = self._thread.result()
        except RegistryFault as fault:
            self._failed(fault.kind, str(fault))
        except (OSError, CheckpointError) as error:
            self._failed("local", str(error))
        except Exception as error:  # what nobody expected fails the pass, too, and not the process
            self._process.log.exception("publisher_pass_failed")
            self._failed("local", f"{type(error).__name__}: {error}")
        else:
            if seen is not None:
                self._succeeded(seen)

    def _failed(self, kind: str, reason: str) -> None:
        report = self._process.report
        report.failures[kind] = report.failures.get(kind, 0) + 1
        if self._passes.waits and not report.waiting_since:
            report.waiting_since = time.time()
        self._process.log.warning("registry_failed", kind=kind, reason=reason[:LONGEST])
        self._registry.failed()
        self._registry.began(kind, reason)

    def _show(self) -> None:
        self._process.show("running", self._registry.problem, self._announcer.problem if self._announcer else "")

    def _succeeded(self, seen: Seen) -> None:
        report = self._process.report
        for fault in seen.healed:
            report.failures[fault.kind] = report.failures.get(fault.kind, 0) + 1
            self._process.log.warning("registry_healed", kind=fault.kind, reason=str(fault)[:LONGEST])
        if seen.is_of_registry:
            report.pointed, report.pointed_version = seen.pointed, seen.pointed_version
            report.newer_base, report.waiting_since = seen.newer_base, 0.0
            report.offered = seen.offered or report.offered
        if seen.pushed:
            report.pushes += 1
            report.pushed_at = time.time()
            self._process.log.info("pushed", version=seen.version, digest=seen.pushed)
        if seen.pushed and seen.version:
            report.pushed, report.pushed_version = seen.pushed, seen.version
        if seen.is_of_registry:
            self._registry.ended()
        if self._announcer is not None and seen.is_of_registry:
            self._announcer.ask()
