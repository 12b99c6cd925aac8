"""The archive's loop: takes lines out of the ring of bytes, has files made of them in a thread, and reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pipeline.archive.batch import Batch
from pipeline.archive.position import Position
from pipeline.archive.store import Overview, Store
from pipeline.archive.tail import Tail
from pipeline.runtime.disk_jobs import FINISH_S, HUNG_S, SLOW_S, BackOff, JobThread
from pipeline.runtime.lifecycle import Ending, ExitCode
from pipeline.runtime.locks import DirectoryTaken
from pipeline.runtime.process import Process
from pipeline.runtime.reports import ArchiveReport

_PRUNE_INTERVAL_S = 300.0
# How long lines are taken in one turn, in seconds, before the process reports.
_TURN_S = 0.2
_KINDS: dict[type[Exception], str] = {OSError: "disk", DirectoryTaken: "taken", Exception: "unexpected"}
_LONGEST = 500
"""So many characters of a reason fit into a report."""


def serve(process: Process[ArchiveReport]) -> None:
    """Archive what ingest accepts until told to stop."""
    process.saved.forget()
    archive = Archive(process)
    while not process.should_stop():
        archive.turn()
        process.look_after()
        process.wait(0.0 if archive.has_more else None)
    archive.finish()


class Archive:
    """One batch is filled while the one before it is written; both stay in memory until they are on disk."""

    def __init__(self, process: Process[ArchiveReport]) -> None:
        settings = process.settings
        assert settings.archive_dir is not None, "there is no archive without a directory"
        self._process, self._settings = process, settings
        self._store = Store(settings.archive_dir, settings.archive_days, settings.archive_bytes, process.log)
        self._tail: Tail | None = None
        self._done = Position()
        self._filling, self._written = Batch(), Batch()
        self._reached = Position()
        self._thread: JobThread[Position | Overview] = JobThread(when_done=process.bell.ring)
        self._back_off = {name: BackOff() for name in ("open", "write", "prune")}
        self._job = ""
        self._problems: dict[str, str] = {}
        self._pruned_at = -_PRUNE_INTERVAL_S
        self._stopping = False
        self.has_more = False
        process.report.directory = str(settings.archive_dir)

    def turn(self) -> None:
        """Take in what the thread has done, take lines, give the thread what is due, and report."""
        self._take_in()
        if self._tail is not None:
            self._fill(self._tail)
        if not self._thread.busy:
            self._start_due()
        self._report()

    def finish(self) -> None:
        """Write what is left; give up where the disk does not answer.

        Raises Ending where some of it could not be written: it stays in the ring of bytes as long as that does.
        """
        until = time.monotonic() + FINISH_S
        self._stopping = True
        self._problems.clear()
        for back_off in self._back_off.values():
            back_off.succeeded()
        while time.monotonic() < until and not self._problems:
            self.turn()
            if self._is_finished:
                self._store.close()
                return
            self._process.bell.wait(0.0 if self.has_more else self._process.tick)
        reason = "; ".join(self._problems.values()) or "the disk does not answer"
        raise Ending(ExitCode.LAST_SAVE_FAILED, f"the newest samples are not in the archive: {reason}")

    @property
    def _is_finished(self) -> bool:
        waits = self._thread.busy or self._written or self._filling or self.has_more
        return self._tail is not None and not waits

    def _fill(self, tail: Tail) -> None:
        until = time.monotonic() + _TURN_S
        self.has_more = False
        while not self._is_full(tail):
            record = tail.peek()
            if record is None or not self._filling.takes(record):
                return
            if time.monotonic() > until:
                self.has_more = True
                return
            self._filling.add(tail.take())

    def _is_full(self, tail: Tail) -> bool:
        """Whether the batch is to be written: it is large, or half of what the ring of bytes holds is in no file."""
        return len(self._filling) >= self._settings.archive_rows or self._filling.size >= tail.capacity // 2 > 0

    def _start_due(self) -> None:
        for name, job in self._due_jobs():
            if self._back_off[name].seconds <= 0:
                self._job = name
                self._thread.start(job)
                return

    def _due_jobs(self) -> Iterator[tuple[str, Callable[[], Position | Overview]]]:
        """Yield what is to be done on disk, the most urgent first; one that has failed lately lets the others be."""
        if self._tail is None:
            yield "open", self._store.open
            return
        if not self._written and self._is_due(self._tail):
            self._written, self._filling = self._filling, Batch()
            self._reached = self._tail.position
        if self._written:
            yield "write", self._write
        if time.monotonic() - self._pruned_at >= _PRUNE_INTERVAL_S and not self._stopping:
            yield "prune", self._store.prune

    def _is_due(self, tail: Tail) -> bool:
        if not self._filling:
            return False
        record = tail.peek()
        is_another_ring = record is not None and not self._filling.takes(record)
        is_old = self._filling.age >= 60 * self._settings.archive_minutes
        return is_old or is_another_ring or self._is_full(tail) or (self._stopping and record is None)

    def _write(self) -> Position:
        began = time.monotonic()
        self._store.write(self._written, self._reached)
        self._process.report.write_seconds = time.monotonic() - began
        return self._reached

    def _take_in(self) -> None:
        """Take in the outcome of a job that has ended."""
        try:
            outcome = self._thread.result()
        except Exception as error:
            self._failed(error)
            return
        if outcome is None:
            return
        self._back_off[self._job].succeeded()
        self._problems.pop(self._job, None)
        report = self._process.report
        if isinstance(outcome, Overview):
            self._pruned_at = time.monotonic()
            report.files, report.size = outcome.files, outcome.size
            report.removed += outcome.removed
            return
        if self._job == "open":
            self._tail = Tail(self._settings, outcome)
            self._process.log.info("archiving", directory=report.directory, archived=outcome.archived)
        else:
            report.files += len(self._written.by_directory)
            report.written_at = time.time()
            self._written = Batch()
        self._done = outcome

    def _failed(self, error: Exception) -> None:
        self._back_off[self._job].failed()
        kind = next(kind for family, kind in _KINDS.items() if isinstance(error, family))
        failures = self._process.report.failures
        failures[kind] = failures.get(kind, 0) + 1
        reason = (str(error) or type(error).__name__)[:_LONGEST]
        self._problems[self._job] = f"{self._job}: {reason}"
        unexpected = error if kind == "unexpected" else None
        self._process.log.error("failed", job=self._job, kind=kind, reason=reason, exc_info=unexpected)

    def _report(self) -> None:
        report, tail = self._process.report, self._tail
        report.waiting = len(self._filling) + len(self._written)
        report.archived = max(report.archived, self._done.archived)
        if tail is not None:
            report.waiting_bytes, report.buffer_bytes = tail.beyond(self._done), tail.capacity
            report.missed = max(report.missed, tail.position.missed + tail.overrun())
        busy = self._thread.busy_seconds
        problems = (f"{self._job}: waiting for the disk",) if busy > SLOW_S else self._problems.values()
        blocked = busy > HUNG_S or not self._problems.keys().isdisjoint({"open", "write"})
        phase = "saving" if self._stopping else "blocked" if blocked else "archiving" if tail else "starting"
        self._process.show(phase, *problems)
