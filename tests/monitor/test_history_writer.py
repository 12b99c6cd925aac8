"""The monitor's disk thread, against real directories in every condition."""

import shutil
from pathlib import Path

import pytest

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.names import file_of
from pipeline.monitor import history
from pipeline.monitor.history_writer import Archive
from pipeline.monitor.record import Record
from pipeline.runtime import logs
from pipeline.runtime.health import examine
from pipeline.runtime.reports import Board, ExporterReport
from tests.support.boards import publish, settings_of


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a checkpoint directory."""
    made = tmp_path / "models"
    made.mkdir()
    return made


def _archive(instance: str, directory: Path, record: Record, board: Board) -> Archive:
    settings = settings_of(instance, VMAFX_SIDECAR_CHECKPOINT_DIR=str(directory))
    return Archive(settings, record, board, logs.get("monitor"))


def _publish(directory: Path, version: int) -> None:
    sidecar = Checkpoint(
        version=version, sha256="0" * 64, created="2026-05-28T12:34:56Z", step=1, samples=version * 100, base_model="",
        base_sha256="", state="unstable", reason="PLCC fell.",
    )  # fmt: skip
    file_of(directory, version, ".json").write_bytes(checkpoint.encode(sidecar))
    file_of(directory, version).write_bytes(b"model")


def test_a_later_life_goes_on_where_the_last_ended(instance: str, directory: Path, board: Board) -> None:
    """Evaluations and checkpoints of one life are on disk, and in the memory of the next."""
    _publish(directory, 7)
    first = Record()
    first.sample(examine(board))
    archive = _archive(instance, directory, first, board)
    archive.start()
    archive.stop(30)
    file_of(directory, 7, ".json").unlink()
    file_of(directory, 7).unlink()
    second = Record()
    again = _archive(instance, directory, second, board)
    again.turn(save=True)
    assert second.evaluations == first.evaluations
    assert second.checkpoints[7].reason == "PLCC fell."
    assert second.free is not None
    assert again.problem == ""


def test_new_checkpoints_are_read_when_the_exporter_reports_them(instance: str, directory: Path, board: Board) -> None:
    """A checkpoint appears in the record once the exporter's report has changed; a broken sidecar is left out."""
    record = Record()
    archive = _archive(instance, directory, record, board)
    archive.turn(save=False)
    assert record.checkpoints == {}
    _publish(directory, 1)
    file_of(directory, 2).write_bytes(b"model")
    file_of(directory, 2, ".json").write_bytes(b"{")
    publish(board, ExporterReport(role="exporter", version=2))
    archive.turn(save=False)
    assert list(record.checkpoints) == [1]
    assert record.verdicts["unstable"] == 1


def test_no_directory_yet_is_no_problem(instance: str, tmp_path: Path, board: Board) -> None:
    """While the directory is missing, nothing is made and nothing is complained of; once it is there, all is saved."""
    record = Record()
    record.sample(examine(board))
    archive = _archive(instance, tmp_path / "later", record, board)
    archive.turn(save=True)
    assert archive.problem == ""
    assert not (tmp_path / "later").exists()
    (tmp_path / "later").mkdir()
    archive.turn(save=True)
    with history.opened(tmp_path / "later" / "state" / history.NAME) as file:
        assert len(file.evaluations()) == 1


def test_a_disk_that_refuses_is_said_and_survived(instance: str, directory: Path, board: Board) -> None:
    """Where the file cannot be written, it says why, the record keeps everything, and saves it when that is over."""
    state = directory / "state"
    state.write_bytes(b"in the way")
    record = Record()
    record.sample(examine(board))
    archive = _archive(instance, directory, record, board)
    archive.turn(save=True)
    assert "state" in archive.problem
    state.unlink()
    archive.turn(save=True)
    assert archive.problem == ""
    with history.opened(state / history.NAME) as file:
        assert file.evaluations() == record.evaluations


def test_a_directory_that_was_emptied_is_filled_again(instance: str, directory: Path, board: Board) -> None:
    """A history that was deleted while the monitor runs is written anew from memory."""
    record = Record()
    record.sample(examine(board))
    archive = _archive(instance, directory, record, board)
    archive.turn(save=True)
    shutil.rmtree(directory / "state")
    archive.turn(save=True)
    with history.opened(directory / "state" / history.NAME) as file:
        assert file.evaluations() == record.evaluations


@pytest.mark.parametrize("sidecar", [b"{}", b"not json", b'{"version": "seven"}'])
def test_what_another_version_wrote_is_skipped(instance: str, directory: Path, board: Board, sidecar: bytes) -> None:
    """A checkpoint in the history that this version cannot read does not keep the rest from being read."""
    (directory / "state").mkdir()
    with history.opened(directory / "state" / history.NAME, write=True) as file:
        file.put([(1, sidecar)])
    record = Record()
    archive = _archive(instance, directory, record, board)
    archive.turn(save=True)
    assert record.checkpoints == {}
    assert archive.problem == ""
