"""The exporter's loop: sees what is due, has it done by the jobs' thread, and reports."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from pipeline.checkpoints.checkpoint import CheckpointError
from pipeline.checkpoints.names import file_of
from pipeline.checkpoints.pins import PinsError
from pipeline.checkpoints.reconcile import Overview
from pipeline.exporter.candidate import Refused
from pipeline.exporter.jobs import Jobs, NotReady
from pipeline.exporter.schedule import Schedule
from pipeline.model.errors import UnusableModel
from pipeline.registry.registry import RegistryError
from pipeline.runtime.control import ControlError
from pipeline.runtime.disk_jobs import FINISH_S, HUNG_S, SLOW_S, BackOff, JobThread
from pipeline.runtime.lifecycle import Ending, ExitCode
from pipeline.runtime.locks import DirectoryTaken
from pipeline.runtime.process import Process
from pipeline.runtime.reports import ExporterReport, Follower, TrainerReport

_UPKEEP_INTERVAL_S = 5.0

_KINDS: dict[type[Exception], str] = {
    OSError: "disk",
    RegistryError: "directory",
    PinsError: "directory",
    CheckpointError: "directory",
    ControlError: "directory",
    Refused: "refused",
    UnusableModel: "refused",
    NotReady: "not ready",
    Exception: "unexpected",
}
_BLOCKING = {"disk", "directory"}
"""Kinds of failure for which nothing can be published or saved: phase `blocked` until it works again."""
_TOLD = 3
"""So many of the things that are wrong in the directory are told at once."""
_LONGEST = 500
"""So many characters of each text fit into a report."""


class ExportRequest:
    """Set by SIGUSR1: export now, whatever the schedule says."""

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGUSR1, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


def serve(process: Process[ExporterReport], request: ExportRequest) -> None:
    """Publish checkpoints and save the state until told to stop."""
    exporter = _Exporter(process, request)
    while not process.should_stop():
        exporter.turn()
        process.look_after()
        process.wait(exporter.due_in, unless=lambda: request.is_set)
    exporter.finish()


class _Exporter:
    """One job at a time: what was asked for, else what is due."""

    def __init__(self, process: Process[ExporterReport], request: ExportRequest) -> None:
        settings = process.settings
        self._process, self._request = process, request
        if Path(process.report.latest).parent != settings.checkpoint_dir:
            self._describe(Overview())  # until it has been looked at: what the report says is of another directory
            process.reporter.publish()
        process.report.directory = str(settings.checkpoint_dir)
        self._jobs = jobs = Jobs(settings, process.board, process.log, process.saved)
        self._runs = {"export": jobs.export, "offer": jobs.judge_offers, "save": jobs.save, "upkeep": jobs.upkeep}
        self._back_off = {name: BackOff() for name in (*self._runs, "directory")}
        self._thread: JobThread[Overview] = JobThread(when_done=process.bell.ring)
        self._job = ""
        self._began = 0.0
        self._asked = False
        self._schedule = Schedule(settings.ckpt_interval_s, settings.min_samples_ckpt)
        self._trainer = Follower(process.board, "trainer", TrainerReport)
        self._upkept_at = -math.inf  # when the directory was last seen in line
        self._was_looked_at = False
        self._saved_at = time.monotonic()
        self._problems: dict[str, str] = {}
        self._blocked: set[str] = set()

    def turn(self) -> None:
        """Take in what the thread has done, give it what is due, and report."""
        if self._take_in():
            self._report()
            self._process.reporter.publish()
        if not self._thread.busy:
            due = self._due()
            if due:
                self._start(due)
        self._report()

    def finish(self) -> None:
        """Let the job in hand end, save, and leave things in order; give up where the disk does not answer.

        Raises Ending where the state could not be saved.
        """
        until = time.monotonic() + FINISH_S
        self._process.phase("saving")
        for last_job in ("", "save", "upkeep"):
            if last_job:
                self._start(last_job)
            while self._thread.busy and time.monotonic() < until:
                self._process.reporter.beat()
                self._process.bell.wait(min(self._process.tick, max(0.0, until - time.monotonic())))
            if self._thread.busy:
                self._process.log.error("abandoned", job=self._job, seconds=round(self._thread.busy_seconds, 1))
                if last_job == "upkeep":
                    return
                raise Ending(ExitCode.LAST_SAVE_FAILED, f"the state is not saved: {self._job} waits for the disk")
            try:
                self._take_in()
            except Ending as error:
                self._problems["save"] = str(error)
            if last_job and "save" in self._problems:
                raise Ending(ExitCode.LAST_SAVE_FAILED, f"the state is not saved: {self._problems['save']}")
        self._report()

    @property
    def due_in(self) -> float:
        """Seconds until there is something to do, or to look for; a job in hand rings when it is done."""
        return math.inf if self._thread.busy else max(0.0, min(self._due_times().values()))

    def _due_times(self) -> dict[str, float]:
        """Return in how many seconds each job is due, by name, the most urgent first."""
        self._trainer.refresh()
        now, settings, trainer = time.monotonic(), self._process.settings, self._trainer.report
        wanted = {
            "upkeep": max(0.0, self._upkept_at + _UPKEEP_INTERVAL_S - now),
            "offer": 0.0 if self._jobs.has_offers else math.inf,
            "export": self._schedule.due_in(trainer.cursor, restored=trainer.restored, start=trainer.start),
            "save": self._saved_at + settings.state_interval_s - now,
        }
        due = {job: max(seconds, self._back_off[job].seconds) for job, seconds in wanted.items()}
        if self._request.is_set:
            due["export"] = 0.0
        if not self._was_looked_at:  # what is there says since when samples count
            del due["export"]
        return due

    def _due(self) -> str | None:
        return next((job for job, seconds in self._due_times().items() if seconds <= 0), None)

    def _start(self, job: str) -> None:
        self._asked = job == "export" and self._request.is_set
        if self._asked:
            self._request.is_set = False
        self._job, self._began = job, time.monotonic()
        self._thread.start(self._runs[job])

    def _take_in(self) -> bool:
        """Take in the outcome of a job that has ended; return whether there was one."""
        try:
            overview = self._thread.result()
        except DirectoryTaken as error:
            raise Ending(ExitCode.ALREADY_RUNNING, str(error)) from None
        except Exception as error:
            self._failed(error)
        else:
            if overview is None:
                return False
            self._succeeded(overview)
        return True

    def _failed(self, error: Exception) -> None:
        """Note that the job in hand has failed; what nobody expected fails the job, too, and not the process."""
        self._back_off[self._job].failed()
        if isinstance(error, NotReady) and not self._asked:
            return  # due, but the trainer is not: no fault
        self._upkept_at = -math.inf
        kind = self._tell(self._job, [error])
        if kind in _BLOCKING and not self._asked and self._job != "offer":
            self._blocked.add(self._job)  # who asked for it is told, and may leave it at that

    def _tell(self, job: str, errors: Sequence[Exception]) -> str:
        """Count, show and log what is wrong; return its kind."""
        kind = next(kind for family, kind in _KINDS.items() if isinstance(errors[0], family))
        reason, unexpected = _in_a_line(errors), errors[0] if kind == "unexpected" else None
        failures = self._process.report.failures
        failures[kind] = failures.get(kind, 0) + 1
        self._problems[job] = f"{job}: {reason}"
        self._process.log.error("failed", job=job, kind=kind, reason=reason, exc_info=unexpected)
        return kind

    def _succeeded(self, overview: Overview) -> None:
        now, report = time.monotonic(), self._process.report
        done = {self._job, "upkeep"} if self._job in {"export", "offer"} else {self._job}  # they end with upkeep
        for job in done if self._jobs.has_offers else done | {"offer"}:
            self._back_off[job].succeeded()
            self._problems.pop(job, None)
            self._blocked.discard(job)
        if self._job == "offer" and self._jobs.has_offers:
            self._back_off["offer"].failed()  # it waits for samples, or for an operator
        if overview.own is not None:
            self._schedule.follow(overview.own)
        if self._job == "save":
            self._saved_at = now
            report.state_saved_at, report.state_save_seconds = time.time(), now - self._began
            return
        if self._job == "export":
            report.export_seconds = now - self._began
        self._upkept_at, self._was_looked_at = now, True
        self._describe(overview)
        self._look_at(overview.problems)

    def _look_at(self, problems: Sequence[Exception]) -> None:
        """Tell what is wrong in the directory: when it is new, and ever more seldom while it stays."""
        if not problems:
            self._problems.pop("directory", None)
            self._back_off["directory"].succeeded()
            return
        is_news = self._problems.get("directory") != f"directory: {_in_a_line(problems)}"
        if is_news or self._back_off["directory"].seconds <= 0:
            self._back_off["directory"].failed()
            self._tell("directory", problems)
        if any(isinstance(each, OSError) for each in problems):  # the disk refuses: leave it alone for as long
            self._upkept_at += self._back_off["directory"].seconds

    def _describe(self, overview: Overview) -> None:
        report, directory = self._process.report, self._process.settings.checkpoint_dir
        report.published = overview.states
        report.stable_version = overview.stable.version if overview.stable else 0
        report.announced = str(file_of(directory, overview.announced.version)) if overview.announced else ""
        latest = overview.latest
        report.version = latest.version if latest else 0
        report.latest_state, report.latest_reason = (latest.state, latest.reason[:_LONGEST]) if latest else ("", "")
        report.latest = str(file_of(directory, latest.version)) if latest else ""
        report.latest_origin = latest.origin if latest else ""
        report.checkpoint_at = datetime.fromisoformat(latest.created).timestamp() if latest else 0.0
        report.samples_at_checkpoint = latest.samples if latest else 0

    def _report(self) -> None:
        report = self._process.report
        for outcome in self._jobs.take_outcomes():
            report.offer = outcome.told[:_LONGEST]
            if outcome.name:
                report.offers[outcome.name] = report.offers.get(outcome.name, 0) + 1
        problems = *self._problems.values(), self._jobs.problem
        busy = self._thread.busy_seconds
        if busy > SLOW_S:
            problems = (f"{self._job}: waiting for the disk",)
        self._process.show("blocked" if self._blocked or busy > HUNG_S else "running", *problems)


def _in_a_line(errors: Sequence[Exception]) -> str:
    """Return what went wrong, in a line that fits into a report."""
    told = [str(error) or type(error).__name__ for error in errors[:_TOLD]]
    more = [f"and {len(errors) - _TOLD} more"] if len(errors) > _TOLD else []
    return "; ".join(each[:_LONGEST] for each in (*told, *more))
