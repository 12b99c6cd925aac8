"""`vmafx-sidecar run`: supervisord in the foreground, in this very process, so that it can be PID 1 of a container."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import click
from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from pipeline import config
from pipeline.artifacts.base import RUN_NOTE
from pipeline.config import Settings
from pipeline.console.activation import ActivatedProcess, HeldListener
from pipeline.console.ending import Options, Outcome
from pipeline.console.poller import PromptPoller
from pipeline.runtime import regions
from pipeline.runtime.lifecycle import PREDECESSOR_WAIT_S, Ending, ExitCode
from pipeline.shm.segment import SHM_DIR, SegmentError, take_lock

LEAST_CAPACITY = 1024
"""Samples that the ring of a pool has room for, at least: those of some messages."""

_PACKAGED = Path(str(resources.files("pipeline"))) / "supervisord.conf"


def configuration_file() -> Path:
    """Return supervisord.conf: beside the package in a wheel, above it in a source tree."""
    return _PACKAGED if _PACKAGED.exists() else _PACKAGED.parent.parent / _PACKAGED.name


@click.command(epilog="Example: VMAFX_SIDECAR_N_FEATURES=6 VMAFX_BASE_MODEL_PATH=/models/base.onnx vmafx-sidecar run")
def run() -> None:
    """Run the sidecar in the foreground until SIGTERM; settings come from the environment.

    Exit codes: 0 stopped on request, 65 base model unusable, 70 a process is given up, 71 too little shared
    memory, 73 another sidecar is running, 74 stopped on request without a last save, 78 bad settings.
    """
    run_here()


def run_here() -> None:
    """Run what the environment says, and exit with its code."""
    try:
        settings = config.load()
    except config.ConfigError as error:
        for problem in error.problems:
            click.echo(f"vmafx-sidecar: {problem}", err=True)
        sys.exit(ExitCode.BAD_SETTINGS)
    for name in config.unknown(os.environ):
        click.echo(f"vmafx-sidecar: warning: {name} is not a setting of this version", err=True)
    sys.exit(_supervise(settings))


def _supervise(settings: Settings) -> int:
    run_dir = SHM_DIR / f"{regions.PREFIX}{settings.instance_name}-run"
    source = "pipeline.intake" if settings.pool else "pipeline.ingest"
    os.environ |= {
        "VMAFX_SIDECAR_RUN_DIR": str(run_dir),
        "VMAFX_SIDECAR_PYTHON": sys.executable,
        "VMAFX_SIDECAR_SOURCE": source,
    }
    # Matrices are small here: more threads would only take cores from the encoder.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if problem := _fixture_problem(settings) or _archive_problem(settings) or _fleet_problem(settings):
        click.echo(f"vmafx-sidecar: {problem}", err=True)
        return ExitCode.BAD_SETTINGS
    if problem := _run_dir_problem(run_dir):
        click.echo(f"vmafx-sidecar: {problem}", err=True)
        return ExitCode.NO_SHARED_MEMORY
    # supervisord and ONNX Runtime need a directory for temporary files, and there may be no other.
    os.environ.setdefault("TMPDIR", str(run_dir))
    options = Options()
    options.realize(["-n", "-c", str(configuration_file())], doc="")
    options.first, options.test = True, False
    sidecar = _Sidecar(options, settings)
    try:
        sidecar.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.FAILED
    options.close_logger()
    shutil.rmtree(run_dir, ignore_errors=True)
    return sidecar.outcome.code


def _fixture_problem(settings: Settings) -> str:
    """Say why the fixture cannot be used. Asked once, at the start: one that breaks later must not end the sidecar."""
    if settings.fixture is None:
        return ""
    from pipeline.exporter.fixture import Fixture

    fixture = Fixture.of(settings)
    return fixture.problem() if fixture else ""


def _archive_problem(settings: Settings) -> str:
    """Say what is missing for an archive."""
    from pipeline.runtime.extras import lacking

    return lacking("archive", "VMAFX_SIDECAR_ARCHIVE_DIR") if settings.archive_dir is not None else ""


def _fleet_problem(settings: Settings) -> str:
    """Say what is missing for a fleet."""
    from pipeline.runtime.extras import lacking

    if settings.pool and not settings.fleet:
        return "a pool needs VMAFX_FLEET_URL: its samples come from a fleet"
    if settings.pool and settings.replay_capacity < LEAST_CAPACITY:
        return f"VMAFX_SIDECAR_REPLAY_CAPACITY={settings.replay_capacity}: expected {LEAST_CAPACITY} or more in a pool"
    return lacking("fleet", "VMAFX_FLEET_URL") if settings.fleet else ""


def _run_dir_problem(directory: Path) -> str:
    """Make a directory that only this user can enter; say what is wrong where it is none, had it been there before."""
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if stat.S_ISDIR(found.st_mode) and (found.st_uid, found.st_mode & 0o077) == (os.geteuid(), 0):
        return ""
    return f"{directory} belongs to another user; remove it or set VMAFX_SIDECAR_INSTANCE"


class _Sidecar(Supervisor):  # type: ignore[misc]  # untyped
    """supervisord as the only one of its instance."""

    def __init__(self, options: Any, settings: Settings) -> None:
        super().__init__(options)
        self._settings = settings
        self._listener: HeldListener | None = None
        self.outcome = Outcome()
        options.on_end = self._on_end

    def add_process_group(self, config: Any) -> bool:
        """Add a program, if the settings ask for it; ingest is one that gets the socket."""
        settings = self._settings
        wanted = {
            "archive": settings.archive_dir is not None,
            "publisher": settings.uses_registry,
            "uplink": settings.has_uplink,
        }
        if not wanted.get(config.name, True):
            return False
        added: bool = super().add_process_group(config)
        if config.name == "ingest" and self._listener is not None:
            group = self.process_groups[config.name]
            group.processes = {each.name: ActivatedProcess(each, self._listener) for each in config.process_configs}
            for process in group.processes.values():
                process.group = group
        return added

    def run(self) -> None:
        """Run until stopped. Comes after supervisord has closed what descriptors it inherited, so the lock stays."""
        try:
            take_lock(regions.run_lock(self._settings.instance_name))
            (Path(os.environ["VMAFX_SIDECAR_RUN_DIR"]) / RUN_NOTE).unlink(missing_ok=True)
            regions.forget_lives(regions.open_board(self._settings), self._settings.instance_name)
            self.options.poller = PromptPoller(self.options)
            self._listener = None if self._settings.pool else self._held_listener()
        except BlockingIOError:
            settings = self._settings
            what = f"pool named {settings.pool}" if settings.pool else f"sidecar is running for {settings.socket}"
            click.echo(f"vmafx-sidecar: another {what}", err=True)
            sys.exit(ExitCode.ALREADY_RUNNING)
        except SegmentError as error:
            click.echo(f"vmafx-sidecar: {error}", err=True)
            sys.exit(ExitCode.NO_SHARED_MEMORY)
        except Ending as ending:
            click.echo(f"vmafx-sidecar: {ending}", err=True)
            sys.exit(ending.code)
        try:
            with suppress(asyncore.ExitNow):  # how supervisord says that all its processes have stopped
                super().run()
        finally:
            if self._listener is not None:
                self._listener.close()

    def _held_listener(self) -> HeldListener:
        """Open the socket, once the ingest that a killed supervisor has left is gone: it listens, and ends soon."""
        with suppress(BlockingIOError):
            os.close(take_lock(regions.role_lock(self._settings.instance_name, "ingest"), PREDECESSOR_WAIT_S))
        return HeldListener(self._settings)

    def runforever(self) -> None:
        """Serve. supervisord forgets who listens to its events just before."""
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)
        super().runforever()

    @property
    def _is_stopping(self) -> bool:
        return bool(self.options.mood < SupervisorStates.RUNNING)

    def _on_end(self, role: str, code: int) -> None:
        if self.outcome.ended(role, code, stopping=self._is_stopping):
            self._end(role)

    def _on_fatal(self, event: Any) -> None:
        role = event.process.config.name
        if self.outcome.given_up(role, stopping=self._is_stopping):
            self._end(role)

    def _end(self, role: str) -> None:
        from pipeline.runtime import logs

        logs.configure(self._settings)
        logs.get("run").error("ending_sidecar", process=role, code=int(self.outcome.code))
        self.options.mood = SupervisorStates.SHUTDOWN
