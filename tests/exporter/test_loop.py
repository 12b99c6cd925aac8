"""The exporter as a process: schedule, signals, broken disks, restarts."""

import hashlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.artifacts import offer
from pipeline.artifacts.offer import About, Offer, Slot
from pipeline.checkpoints.names import file_of, published
from pipeline.data import CORPUS
from pipeline.model.verify import verify
from pipeline.runtime import saved_state
from pipeline.runtime.lifecycle import ExitCode
from pipeline.runtime.reports import ExporterReport
from tests.support.checkpoints import small_model
from tests.support.processes import environment
from tests.support.surroundings import Surroundings, settings_for
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.processes

OTHER = small_model(seed=3).vector()


class Exporter:
    """A running `python -m pipeline.exporter` amid regions that the test writes."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self.around = Surroundings(environ)
        self.directory = self.around.settings.checkpoint_dir
        self.start()

    def start(self) -> None:
        """Start the process; the one before has ended."""
        command = [sys.executable, "-m", "pipeline.exporter"]
        self.process = subprocess.Popen(command, env=environment(**self._environ), stderr=subprocess.PIPE)

    @property
    def report(self) -> ExporterReport:
        """What it says of itself."""
        return self.around.board.exporter()

    def until(self, condition: Callable[[ExporterReport], object]) -> ExporterReport:
        """Wait until its report meets a condition."""

        def met() -> object:
            assert self.process.poll() is None, self.process.communicate()[1]
            return condition(self.report)

        eventually(met, explain=lambda: self.report)
        return self.report

    def train(self, samples: int, step: int) -> None:
        """Accept samples and publish weights made of them."""
        self.around.feed(samples)
        self.around.train(OTHER + step, step=step)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it; return its exit code and what it logged."""
        self.process.send_signal(number)
        log = self.process.communicate(timeout=PATIENCE_S)[1]
        return self.process.returncode, log.decode()


@pytest.fixture
def exporter(tmp_path: Path, instance: str) -> Iterator[Exporter]:
    """Start an exporter that publishes after every ten samples."""
    running = Exporter(settings_for(tmp_path / "online", instance))
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()


def all_verify(directory: Path) -> bool:
    """Tell whether every model in a directory keeps its promises."""
    return all(check.passed for path in directory.glob("*.onnx") for check in verify(path))


def test_it_publishes_when_enough_samples_have_come_and_not_before(exporter: Exporter) -> None:
    """Nine are too few, ten are enough; ten more make the next one."""
    exporter.train(9, step=1)
    exporter.until(lambda report: report.phase == "running")
    time.sleep(0.5)
    assert exporter.report.version == 0
    exporter.train(1, step=2)
    report = exporter.until(lambda report: report.version == 1)
    assert report.latest == report.announced == str(file_of(exporter.directory, 1))
    assert (report.latest_state, report.samples_at_checkpoint, report.published) == ("unproven", 10, {"unproven": 1})
    exporter.train(10, step=3)
    exporter.until(lambda report: report.version == 2)
    assert all_verify(exporter.directory)


def test_what_a_fleet_offers_is_judged_at_once_and_delays_no_checkpoint_of_ones_own(exporter: Exporter) -> None:
    """No checkpoint is due then; ten samples after the last own one make the next, in the next life too."""
    around = exporter.around
    around.hold_out(around.base.with_weights(OTHER))
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    exporter.train(5, step=2)
    onnx = around.base.with_weights(OTHER)
    about = About("file:///r", "sha256:1", hashlib.sha256(onnx).hexdigest(), around.base.digest)
    offer.write(around.settings.state_dir, Offer(about, onnx), Slot.FLEET)
    report = exporter.until(lambda report: report.version == 2)
    assert (report.latest_origin, report.latest_state) == ("file:///r@sha256:1", "stable")
    exporter.until(lambda report: report.offers == {"taken": 1})
    exporter.train(5, step=3)
    report = exporter.until(lambda report: report.version == 3)
    assert (report.latest_origin, report.samples_at_checkpoint) == ("", 20)
    exporter.stop()
    exporter.start()
    exporter.train(9, step=4)
    exporter.until(lambda report: report.phase == "running" and report.pid == exporter.process.pid)
    exporter.train(1, step=5)
    exporter.until(lambda report: report.version == 4)


def test_both_conditions_count_over_a_restart(tmp_path: Path, instance: str) -> None:
    """With an interval of an hour the next life waits for it too, however many samples come."""
    environ = settings_for(tmp_path / "online", instance, VMAFX_SIDECAR_CKPT_INTERVAL_S="3600")
    exporter = Exporter(environ)
    exporter.train(10, step=1)
    exporter.until(lambda report: report.phase == "running")
    exporter.process.send_signal(signal.SIGUSR1)
    exporter.until(lambda report: report.version == 1)
    assert exporter.stop()[0] == 0
    exporter.start()
    exporter.train(500, step=2)
    exporter.until(lambda report: report.phase == "running" and report.pid == exporter.process.pid)
    time.sleep(1)
    assert published(exporter.directory) == [1]
    exporter.stop()


def test_a_request_is_served_at_once(exporter: Exporter) -> None:
    """SIGUSR1, with no new samples at all; before the trainer has weights it is a failure that says so."""
    exporter.until(lambda report: report.phase == "running")
    exporter.process.send_signal(signal.SIGUSR1)
    report = exporter.until(lambda report: report.failures)
    assert report.failures == {"not ready": 1}
    assert "trainer" in report.problem
    exporter.train(0, step=1)
    exporter.process.send_signal(signal.SIGUSR1)
    exporter.until(lambda report: report.version == 1 and not report.problem)


def test_it_saves_the_state_when_it_is_stopped(exporter: Exporter) -> None:
    """Everything up to the last sample, whatever the interval between saves."""
    exporter.train(25, step=7)
    exporter.until(lambda report: report.version == 1)
    exporter.train(3, step=8)
    code, _ = exporter.stop()
    assert code == 0
    assert exporter.report.phase == "stopped"
    state, _ = saved_state.load(exporter.around.settings.state_dir)
    assert state is not None
    assert state.regions["ring"].count == 28


def test_killed_again_and_again_it_goes_on(exporter: Exporter) -> None:
    """SIGKILL at no particular moment, ten times: versions only grow, every file verifies, nothing is left over."""
    for life in range(10):
        version = exporter.report.version
        exporter.train(10, step=life + 1)
        if life % 2:
            exporter.until(lambda report, before=version: report.version > before)  # type: ignore[misc]
        else:
            time.sleep(0.1 * life)
        exporter.stop(signal.SIGKILL)
        assert not exporter.directory.exists() or all_verify(exporter.directory)
        exporter.start()
    exporter.train(10, step=99)
    before = max(published(exporter.directory), default=0)
    exporter.until(lambda report: report.version > before)
    assert all_verify(exporter.directory)
    assert list(exporter.directory.glob(".*.tmp")) == []


def test_a_full_disk_is_reported_and_outlived(exporter: Exporter) -> None:
    """Writes fail for a while: counted, said, tried again; no version is lost, none is half there."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    limits = resource.prlimit(exporter.process.pid, resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
    exporter.train(10, step=2)
    report = exporter.until(lambda report: report.failures.get("disk", 0) >= 2)
    assert "too large" in report.problem
    assert published(exporter.directory) == [1]
    assert all_verify(exporter.directory)
    resource.prlimit(exporter.process.pid, resource.RLIMIT_FSIZE, limits)
    exporter.until(lambda report: report.version > 1 and not report.problem)
    assert all_verify(exporter.directory)


def test_a_directory_that_goes_and_comes_back(exporter: Exporter) -> None:
    """Removed, then a file in its place, then free again: it publishes again without a restart."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    shutil.rmtree(exporter.directory)
    exporter.directory.write_text("not a directory")
    exporter.train(10, step=2)
    exporter.until(lambda report: report.failures.get("disk"))
    exporter.directory.unlink()
    exporter.train(10, step=3)
    exporter.until(lambda report: not report.problem and (exporter.directory / "latest.onnx").exists())
    assert all_verify(exporter.directory)


def test_a_disk_that_does_not_answer_stops_neither_the_reports_nor_the_end(exporter: Exporter) -> None:
    """A pins file that blocks whoever reads it: the heartbeat goes on, and SIGTERM ends it in time."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    os.mkfifo(exporter.directory / "pins.json")
    exporter.train(10, step=2)
    report = exporter.until(lambda report: "waiting for the disk" in report.problem)
    exporter.until(lambda later: later.heartbeat > report.heartbeat + 1)
    code, log = exporter.stop()
    assert code == ExitCode.LAST_SAVE_FAILED
    assert '"abandoned"' in log
    assert "the state is not saved" in log


def test_broken_files_of_others_are_reported_and_left(exporter: Exporter) -> None:
    """A registry that cannot be read does not keep models from being published."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    (exporter.directory / "registry.json").write_text("{")
    exporter.train(10, step=2)
    report = exporter.until(lambda report: report.failures.get("directory"))
    assert "registry.json" in report.problem
    assert published(exporter.directory) == [1, 2]
    (exporter.directory / "registry.json").unlink()
    exporter.until(lambda report: report.version == 2 and not report.problem)


def truncate_stable(directory: Path) -> None:
    """Cut the model short that `latest-stable` leads to."""
    path = (directory / "latest-stable.onnx").resolve()
    path.write_bytes(path.read_bytes()[:100])


def replace_pointer(directory: Path) -> None:
    """Put a directory in the place of `latest.onnx`."""
    (directory / "latest.onnx").unlink()
    (directory / "latest.onnx").mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "registry.json": lambda directory: (directory / "registry.json").write_text("{"),
    "pins.json": lambda directory: (directory / "pins.json").write_text("["),
    "model_v000001.onnx": truncate_stable,
    "model_v000001.json": lambda directory: (directory / "model_v000001.json").write_text("{}"),
    "latest.onnx": replace_pointer,
}


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_is_wrong_in_the_directory_the_state_is_saved(tmp_path: Path, instance: str, name: str) -> None:
    """Now and then, and at the end; models are published, and the problem names the file."""
    environ = settings_for(tmp_path / "online", instance, VMAFX_SIDECAR_STATE_INTERVAL_S="1")
    exporter = Exporter(environ)
    exporter.around.hold_out(exporter.around.base.with_weights(OTHER + 1))
    exporter.train(10, step=1)
    exporter.until(lambda report: report.stable_version == 1)
    BROKEN[name](exporter.directory)
    exporter.train(10, step=2)
    report = exporter.until(lambda report: name in report.problem and report.state_saved_at)
    before = report.state_saved_at
    exporter.until(lambda report: report.version == 2)
    exporter.train(1, step=3)
    exporter.until(lambda report: report.state_saved_at > before)
    exporter.train(2, step=4)
    assert exporter.stop()[0] == 0
    state, _ = saved_state.load(exporter.around.settings.state_dir)
    assert state is not None
    assert state.regions["ring"].count == 23


def test_what_nobody_expected_fails_the_job_and_not_the_process(exporter: Exporter) -> None:
    """It is counted, logged with its traceback, shown, and tried again; without it all goes on."""
    exporter.around.train(OTHER, step=1, probe=b"\0" * 5)
    exporter.around.feed(10)
    exporter.until(lambda report: report.phase == "running")
    exporter.process.send_signal(signal.SIGUSR1)
    report = exporter.until(lambda report: report.failures.get("unexpected"))
    assert report.problem.startswith("export: ")
    exporter.train(10, step=2)
    exporter.process.send_signal(signal.SIGUSR1)
    exporter.until(lambda report: report.version == 1 and not report.problem)
    code, log = exporter.stop()
    assert code == 0
    assert "Traceback" in log


def test_a_second_sidecar_on_the_directory_is_refused(exporter: Exporter, tmp_path: Path) -> None:
    """It ends with the documented code and one line; the first goes on."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    name = f"{exporter.around.settings.instance_name}-b"
    second = Exporter(settings_for(tmp_path / "online", name))
    try:
        log = second.process.communicate(timeout=PATIENCE_S)[1].decode()
    finally:
        second.around.discard()
    assert second.process.returncode == ExitCode.ALREADY_RUNNING
    assert "another sidecar publishes here" in log
    assert "Traceback" not in log
    exporter.train(10, step=2)
    exporter.until(lambda report: report.version == 2)


@pytest.fixture
def fixture_file(tmp_path: Path) -> Path:
    """Give a fixture that can be used."""
    return Path(shutil.copy(CORPUS, tmp_path / "fixture.npz"))


@pytest.fixture
def with_fixture(tmp_path: Path, instance: str, fixture_file: Path) -> Iterator[Exporter]:
    """Start an exporter that judges on a fixture."""
    running = Exporter(settings_for(tmp_path / "online", instance, VMAFX_SIDECAR_FIXTURE=str(fixture_file)))
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()


def test_a_fixture_that_breaks_is_a_problem_and_nothing_is_announced(
    with_fixture: Exporter, fixture_file: Path
) -> None:
    """Removed under a running exporter: said at once, models are published and nobody is told; also not afterwards."""
    exporter = with_fixture
    exporter.until(lambda report: report.phase == "running")
    assert exporter.report.problem == ""
    fixture_file.unlink()
    report = exporter.until(lambda report: report.problem)
    assert report.problem.startswith(f"VMAFX_SIDECAR_FIXTURE: {fixture_file}: ")
    assert "o such file" in report.problem
    exporter.train(10, step=1)
    report = exporter.until(lambda report: report.version == 1)
    assert (report.latest_state, report.announced) == ("unproven", "")
    shutil.copy(CORPUS, fixture_file)
    report = exporter.until(lambda report: not report.problem)
    assert (report.version, report.announced) == (1, "")
    code, log = exporter.stop()
    assert code == 0
    assert '"fixture_unusable"' in log


def test_an_export_that_is_due_before_the_trainer_is_ready_waits(exporter: Exporter) -> None:
    """After a restart the count of samples is there at once, weights come later: no failure, no problem, no delay."""
    exporter.around.report_cursor(1000)
    report = exporter.until(lambda report: report.phase == "running")
    exporter.until(lambda later: later.heartbeat > report.heartbeat + 1)
    exporter.train(10, step=1)
    report = exporter.until(lambda report: report.version == 1)
    assert (report.failures, report.problem) == ({}, "")


def test_an_operator_who_asks_too_early_is_told(exporter: Exporter) -> None:
    """What was asked for and cannot be done is a failure, with the reason."""
    exporter.until(lambda report: report.phase == "running")
    exporter.process.send_signal(signal.SIGUSR1)
    report = exporter.until(lambda report: report.failures)
    assert report.failures == {"not ready": 1}
    assert "the trainer has not published any weights yet" in report.problem


def test_a_directory_that_is_back_is_noticed_however_often_it_exports(exporter: Exporter) -> None:
    """An export sees to the directory too: what upkeep alone had found wrong is not said for ever."""
    exporter.train(10, step=1)
    exporter.until(lambda report: report.version == 1)
    aside = exporter.directory.with_name("aside")
    exporter.directory.rename(aside)
    exporter.directory.write_text("not a directory")
    exporter.until(lambda report: report.phase == "blocked" and "upkeep" in report.problem)
    exporter.directory.unlink()
    aside.rename(exporter.directory)
    steps = itertools.count(2)

    def is_well(report: ExporterReport) -> bool:
        exporter.train(10, step=next(steps))
        exporter.process.send_signal(signal.SIGUSR1)
        return report.phase == "running" and not report.problem and report.version > 2

    exporter.until(is_well)


def test_an_operators_rollback_is_noticed(exporter: Exporter) -> None:
    """`latest-stable` as the operator left it is what the exporter reports."""
    exporter.around.hold_out(exporter.around.base.with_weights(OTHER + 1))
    exporter.train(10, step=1)
    exporter.until(lambda report: report.stable_version == 1)
    command = [sys.executable, "-m", "pipeline", "rollback", "--directory", str(exporter.directory)]
    subprocess.run(command, check=True, capture_output=True)
    exporter.until(lambda report: report.stable_version == 0 and report.latest_state == "unstable")


def test_it_imports_no_torch() -> None:
    """Nor pyarrow, nor matplotlib: what the process needs is small."""
    code = "import sys, pipeline.exporter.__main__; print({'torch', 'pyarrow', 'matplotlib'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert output.strip() == "set()"
