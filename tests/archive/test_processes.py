"""The archive beside real processes: every answered sample once, whatever is killed, lost, full or gone."""

import json
import os
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.archive import position
from pipeline.runtime import regions
from pipeline.runtime.lifecycle import ExitCode
from pipeline.shm.segment import SHM_DIR
from tests.archive.feed import numbers
from tests.faults.namespace import SidecarOnSmallDisk, needs_namespace
from tests.support.sidecar import QUICK, SIX, Sidecar, running
from tests.support.stream import Stream

pytestmark = pytest.mark.processes

OFTEN = QUICK | {"VMAFX_SIDECAR_ARCHIVE_MINUTES": "0.01"}


def archived_once(stream: Stream, archive: Path) -> None:
    """Check that every answered sample is in the archive, and none twice."""
    found = numbers(archive)
    assert len(found) == len(set(found))
    assert set(stream.answered) <= set(found)


def directory(tmp_path: Path) -> Path:
    """Make a place for an archive."""
    made = tmp_path / "archive"
    made.mkdir()
    return made


def test_kills_of_ingest_and_of_the_archive(tmp_path: Path) -> None:
    """Ten times in mid-stream: whatever was answered is there once when the sidecar has stopped."""
    archive = directory(tmp_path)
    with running(tmp_path, **OFTEN, VMAFX_SIDECAR_ARCHIVE_DIR=str(archive)) as sidecar, Stream(sidecar) as stream:
        for _ in range(5):
            for role in ("archive", "ingest"):
                stream.wait_for_more(100)
                pid = sidecar.kill(role)
                sidecar.wait_for(lambda role=role, pid=pid: sidecar.pid(role) != pid)  # type: ignore[misc]
        sidecar.wait_for(sidecar.is_well)
        sidecar.wait_for(lambda: sidecar.reported().archive.archived > 500)
        stream.wait_for_more(100)
        assert sidecar.fsck() == []
        assert sidecar.reported().archive.missed == 0
        assert sidecar.stop() == 0
    archived_once(stream, archive)


def test_the_whole_sidecar_is_killed(tmp_path: Path) -> None:
    """With memory kept nothing is missing; with memory lost no more than was in no file yet, and nothing is twice."""
    archive = directory(tmp_path)
    with running(tmp_path, **OFTEN, VMAFX_SIDECAR_ARCHIVE_DIR=str(archive)) as sidecar:
        with Stream(sidecar) as stream:
            stream.wait_for_more(300)
            sidecar.kill_all()
            sidecar.start()
            stream.wait_for_more(300)
        first = set(stream.answered)
        sidecar.wait_for(lambda: first <= set(numbers(archive)))
        sidecar.kill_all()
        sidecar.lose_memory()
        sidecar.start()
        with Stream(sidecar, first=100_000) as other:
            other.wait_for_more(300)
        assert sidecar.stop() == 0
    archived_once(other, archive)
    archived_once(stream, archive)


def test_without_the_setting_there_is_none(tmp_path: Path) -> None:
    """No process, no memory, no line in what commands show; what an archive left in memory goes."""
    archive = directory(tmp_path)
    with Sidecar(tmp_path, **SIX, VMAFX_SIDECAR_ARCHIVE_DIR=str(archive)) as sidecar:
        region = SHM_DIR / regions.name(sidecar.instance, "lines")
        sidecar.start()
        sidecar.wait_for(lambda: sidecar.reported().roles["archive"].phase == "archiving")
        assert region.exists()
        assert sidecar.stop() == 0
        del sidecar.environment["VMAFX_SIDECAR_ARCHIVE_DIR"]
        sidecar.start()
        assert list(sidecar.reported().roles) == ["ingest", "trainer", "exporter", "monitor"]
        assert "archive" not in sidecar.command("status").stdout
        assert not region.exists()
        assert sidecar.stop() == 0


def test_every_view_knows_it(tmp_path: Path) -> None:
    """With an archive, `status`, `/status`, the page's figures, the metrics and fsck say how far it is."""
    archive = directory(tmp_path)
    with running(tmp_path, **OFTEN, VMAFX_SIDECAR_ARCHIVE_DIR=str(archive)) as sidecar:
        with Stream(sidecar) as stream:
            stream.wait_for_more(100)
        accepted = sidecar.samples()
        sidecar.wait_for(lambda: sidecar.reported().archive.archived == accepted)
        expected = {"archived": accepted, "waiting": 0, "missed": 0}
        assert read(sidecar, "/status")["archive"] == expected
        assert read(sidecar, "/live")["archive"] == expected
        assert f"{accepted:,} samples archived" in sidecar.command("status").stdout
        with urllib.request.urlopen(f"{sidecar.url()}/metrics", timeout=10) as answer:  # noqa: S310  our own address
            metrics = answer.read().decode()
        assert f"vmafx_sidecar_archived_samples_total {accepted}" in metrics.replace(".0\n", "\n")
        assert "vmafx_sidecar_archive_missed_total 0" in metrics
        checked = sidecar.command("fsck", "--directory", str(sidecar.checkpoints)).stdout
        assert re.search(r"ok +archive +\d+ files, all whole, no sample twice", checked)


def read(sidecar: Sidecar, path: str) -> dict[str, Any]:
    """Return what the monitor answers."""
    with urllib.request.urlopen(sidecar.url() + path, timeout=10) as answer:  # noqa: S310  our own address
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.parametrize("what", ["gone", "taken"])
def test_a_directory_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    """The others go on, status says what is wrong, and what waits is archived once it is there again."""
    archive = directory(tmp_path)
    settings: dict[str, Any] = OFTEN | {"VMAFX_SIDECAR_ARCHIVE_DIR": str(archive)}
    with running(tmp_path, **settings) as sidecar, Stream(sidecar) as stream:
        stream.wait_for_more(100)
        sidecar.wait_for(lambda: sidecar.reported().archive.archived > 0)
        archive.rename(tmp_path / "elsewhere")
        if what == "taken":
            archive.write_text("not a directory")
        sidecar.wait_for(lambda: sidecar.reported().roles["archive"].phase == "blocked")
        assert "archive: write: " in "; ".join(sidecar.reported().problems)
        assert sidecar.reported().phase == "running"
        step = sidecar.reported().trainer.step
        stream.wait_for_more(100)
        sidecar.wait_for(lambda: sidecar.reported().trainer.step > step)
        archive.unlink(missing_ok=True)
        (tmp_path / "elsewhere").rename(archive)
        sidecar.wait_for(lambda: not sidecar.reported().problems)
        assert sidecar.stop() == 0
    archived_once(stream, archive)


def test_a_stop_without_the_directory(tmp_path: Path) -> None:
    """It ends with the code of a save that failed; with memory kept, the next start archives what is left."""
    archive = directory(tmp_path)
    with Sidecar(tmp_path, **SIX, VMAFX_SIDECAR_ARCHIVE_DIR=str(archive)) as sidecar:
        sidecar.start()
        with Stream(sidecar) as stream:
            stream.wait_for_more(100)
            archive.rename(tmp_path / "elsewhere")
        assert sidecar.stop() == ExitCode.LAST_SAVE_FAILED
        assert "the newest samples are not in the archive" in sidecar.log()
        (tmp_path / "elsewhere").rename(archive)
        sidecar.start()
        assert sidecar.stop() == 0
    archived_once(stream, archive)


def test_the_archive_is_halted(tmp_path: Path) -> None:
    """Nobody waits for it; what it could not read in time is the oldest, counted, and named by fsck."""
    archive = directory(tmp_path)
    settings: dict[str, Any] = OFTEN | {
        "VMAFX_SIDECAR_ARCHIVE_DIR": str(archive),
        "VMAFX_SIDECAR_ARCHIVE_BUFFER_BYTES": "1048576",
        "VMAFX_SIDECAR_MAX_LINE_BYTES": "4096",
    }
    with running(tmp_path, **settings) as sidecar:
        with Stream(sidecar) as stream:
            stream.wait_for_more(100)
            sidecar.wait_for(lambda: sidecar.reported().archive.archived > 0)
            os.kill(sidecar.pid("archive"), signal.SIGSTOP)
            stream.wait_for_more(8000)
            os.kill(sidecar.pid("archive"), signal.SIGCONT)
            sidecar.wait_for(lambda: sidecar.reported().archive.missed > 0)
        named = sidecar.command("fsck", "--json", "--dir", str(sidecar.checkpoints)).stdout
        assert sidecar.stop() == 0
    reached = position.read(archive)
    assert reached is not None
    found = numbers(archive)
    assert len(found) == len(set(found))
    assert reached.missed == len(stream.answered) - len(found) > 0
    assert "missed" in named


@needs_namespace
def test_a_disk_that_is_full_then_read_only(tmp_path: Path) -> None:
    """Answers and training go on; what waits is written once there is room."""
    with SidecarOnSmallDisk(tmp_path, **OFTEN) as sidecar, Stream(sidecar) as stream:
        sidecar.environment["VMAFX_SIDECAR_ARCHIVE_DIR"] = str(sidecar.checkpoints)
        sidecar.start()
        for fault in ("full", "read-only"):
            stream.wait_for_more(100)
            if fault == "full":
                filler = sidecar.fill()
            else:
                sidecar.make_read_only()
            sidecar.wait_for(lambda: "write" in sidecar.reported().archive.problem)
            stream.wait_for_more(100)
            if fault == "full":
                filler.unlink()
            else:
                sidecar.make_writable()
            sidecar.wait_for(lambda: not sidecar.reported().archive.problem)
        answered = set(stream.answered)
        sidecar.wait_for(lambda: answered <= set(numbers(sidecar.disk)))
        found = numbers(sidecar.disk)
        assert len(found) == len(set(found))
