"""`vmafx-sidecar forget`: afterwards a search of raw bytes finds the job nowhere that the sidecar keeps anything."""

import json
import os
import re
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.checkpoint import GateMetrics, Part
from pipeline.checkpoints.names import published
from pipeline.cli import cli
from pipeline.forgetting.names import label
from pipeline.forgetting.selection import Selection
from pipeline.ingest.dedup import name_hashes
from pipeline.runtime import control, regions
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import SHM_DIR
from tests.archive.feed import rows
from tests.support.client import Client, Json
from tests.support.sidecar import COMMAND, QUICK, Sidecar, running

pytestmark = pytest.mark.processes

JOB = "job-to-be-forgotten-7f3a"
SECRET = 0.123456789


def sample(job: str, number: int, **more: object) -> Json:
    """Return a sample of a job; those of JOB have features that no other sample has."""
    mark = SECRET if job == JOB else 0.5
    return {"job_id": job, "features": [number / 1024, mark, 0.25, 0.5, 0.75, 1.0], "true_score": number % 101, **more}


def traces(sidecar: Sidecar, *directories: Path) -> list[str]:
    """Return where the job's id or its features lie, in shared memory or in any file."""
    wanted = (JOB.encode(), struct.pack("<f", SECRET), b"0.123456789")
    regions_of = [SHM_DIR / name for name in regions.leftovers(sidecar.instance)]
    files = [path for directory in directories for path in directory.rglob("*")]
    found = []
    for path in [*regions_of, *files]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [f"{path.name}: {each!r}" for each in wanted if each in content]
    return found


def send(client: Client, first: int, count: int) -> None:
    """Send samples of the job among those of ten others."""
    for number in range(first, first + count):
        job = JOB if number % 10 == 0 else f"other-{number % 10}"
        assert client.ask(sample(job, number, tenant_id="acme", source_id=f"clip {number % 40}"))["ok"]


def forget(sidecar: Sidecar, *arguments: str) -> dict[str, Any]:
    """Run the command, and return its receipt."""
    done = sidecar.command("forget", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    receipt: dict[str, Any] = json.loads(done.stdout)
    return receipt


@pytest.fixture
def sidecar(tmp_path: Path) -> Any:
    """Run a sidecar with an archive, full of samples of which each place has some."""
    settings = QUICK | {"VMAFX_SIDECAR_ARCHIVE_MINUTES": "0.01", "VMAFX_SIDECAR_ARCHIVE_DIR": str(tmp_path / "archive")}
    with running(tmp_path, **settings) as started:
        with started.client() as client:
            send(client, 0, 600)
            started.wait_for(lambda: started.reported().trainer.lag == 0)
            started.wait_for(lambda: started.reported().archive.archived > 100)
            saved_at = started.reported().exporter.state_saved_at
            started.wait_for(lambda: started.reported().exporter.state_saved_at > saved_at)
            send(client, 600, 20)
        yield started


def test_nothing_is_left_of_a_job(sidecar: Sidecar, tmp_path: Path) -> None:
    """On a running sidecar: it goes on, everything else stays, a resend is known, and fsck finds all in order."""
    places = (sidecar.checkpoints, tmp_path / "archive")
    assert traces(sidecar, *places), "there was nothing to forget"
    accepted = sidecar.samples()
    before = forget(sidecar, "--job", JOB, "--dry-run")
    assert before["removed"]["memory"]["ring"] == 62
    receipt = forget(sidecar, "--job", JOB)
    assert receipt["removed"]["memory"]["ring"] == 62
    assert receipt["removed"]["memory"]["reservoir"] + receipt["removed"]["memory"]["holdout"] == 62
    assert receipt["not_reached"] == []
    assert "stay" in receipt["learned"]
    sidecar.wait_for(sidecar.is_well)
    assert traces(sidecar, *places) == []
    with sidecar.client() as client:
        assert client.ask(sample(JOB, 610, tenant_id="acme", source_id="clip 10"))["ok"]
        send(client, 621, 9)
    assert sidecar.samples() == accepted + 9
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == accepted + 9 - 62)
    assert JOB not in {row["job_id"] for row in rows(tmp_path / "archive")}
    saved_at = sidecar.reported().exporter.state_saved_at
    sidecar.wait_for(lambda: sidecar.reported().exporter.state_saved_at > saved_at)
    assert traces(sidecar, *places) == []
    assert sidecar.fsck() == []


def test_names_go_from_what_was_written(sidecar: Sidecar, tmp_path: Path) -> None:
    """From checkpoints, learning curve, orders, reports, events and saved copies; a job may be a group's name."""
    with sidecar.client() as client:
        for number in range(700, 760):
            assert client.ask(sample(JOB, number, tenant_id=JOB, node_id=f"node of {JOB}"))["ok"]
        sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
    assert sidecar.command("quarantine", "--group", JOB, "--reason", f"{JOB} looks wrong").returncode == 0
    for path in sidecar.checkpoints.glob("model_*.json"):
        known = checkpoint.read(sidecar.checkpoints, int(path.stem.removeprefix("model_v")))
        reason = f"held-out: Worse for group {JOB}, and 1 more: absolute error 7."
        figures = GateMetrics(1, 1, by={"tenant": {JOB: Part(1, 1.0, 2.0), "acme": Part(1, 3.0, 4.0)}})
        checkpoint.rewrite(
            sidecar.checkpoints, msgspec.structs.replace(known, reason=reason, metrics={"held-out": figures})
        )
    history = sidecar.checkpoints / "state" / "history.sqlite"
    sidecar.wait_for(lambda: JOB.encode() in history.read_bytes())
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 680)
    receipt = forget(sidecar, "--job", JOB)
    assert receipt["removed"]["names"]["checkpoints"] > 0
    assert receipt["removed"]["names"]["history"] > 0
    assert receipt["removed"]["names"]["orders"] == 1
    assert not [each for each in receipt["stays"] if each.startswith("a name in")]
    sidecar.wait_for(sidecar.is_well)
    assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []
    latest = checkpoint.read(sidecar.checkpoints, min(published(sidecar.checkpoints)))
    assert label(JOB) in latest.reason
    assert set(latest.metrics["held-out"].by["tenant"]) == {label(JOB), "acme"}
    quarantine = control.read(sidecar.checkpoints / "state").control.quarantines[0]
    assert (quarantine.group, quarantine.group_hash) == (label(JOB), int(label(JOB), 16))
    assert label(JOB) in control.history(sidecar.checkpoints / "state")[0].reason
    assert sidecar.fsck() == []


def test_it_learns_again_from_the_archive(sidecar: Sidecar, tmp_path: Path) -> None:
    """On a running sidecar: training starts over from what the archive teaches the base model without the job."""
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 620)
    receipt = forget(sidecar, "--job", JOB, "--retrain")
    assert "558 samples" in receipt["learned"]
    published = control.read(sidecar.checkpoints / "state")
    assert published.control.reset is not None
    assert published.control.reset.to == "archive"
    sidecar.wait_for(lambda: re.search(r"\bto\W+archive", sidecar.log()))
    sidecar.wait_for(sidecar.is_well)
    found = CliRunner().invoke(cli, ["simulate", str(tmp_path / "archive"), "--json"], env=sidecar.environment)
    assert json.loads(found.stdout)["samples"] == 558
    assert len(np.frombuffer(published.weights, np.float32)) > 0
    assert np.isfinite(np.frombuffer(published.weights, np.float32)).all()


def test_what_an_older_release_saved() -> None:
    """Rows without job and tenant: found by their group where that is the job; of the others nobody can tell."""
    old = RowBatch(3, 2)
    old.group[:] = name_hashes([JOB, "clip", "clip"])
    old.job[2] = name_hashes(["other"])[0]
    by_job = Selection(job=JOB)
    assert by_job.rows(old).tolist() == [True, False, False]
    assert by_job.doubtful(old) == 1
    assert Selection(tenant="acme").doubtful(old) == 2
    assert Selection(group="clip").doubtful(old) == 0


def test_it_does_not_come_back(tmp_path: Path) -> None:
    """Also when the ring knows the key no more, after a restart, and after the loss of shared memory."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_REPLAY_CAPACITY="64") as sidecar:
        with sidecar.client() as client:
            send(client, 0, 11)
            forget(sidecar, "--job", JOB)
            sidecar.wait_for(sidecar.is_well)
        with sidecar.client() as client:
            for first in range(100, 1500, 100):
                client.ask_all(sample("other", number) for number in range(first, first + 100))
        sidecar.wait_for_another("ingest", sidecar.kill("ingest"))
        accepted = sidecar.samples()
        for times in (1, 2):
            with sidecar.client() as client:
                assert client.ask(sample(JOB, 10, tenant_id="acme", source_id="clip 10"))["ok"]
            assert sidecar.samples() == accepted
            assert sidecar.reported().ingest.forgotten >= 1
            assert traces(sidecar, sidecar.checkpoints) == []
            if times == 1:
                assert sidecar.stop() == 0
                sidecar.lose_memory()
                sidecar.start()


def test_of_a_stopped_sidecar_by_tenant(sidecar: Sidecar, tmp_path: Path) -> None:
    """With memory kept: everything goes where everything is one tenant's, and its name with it."""
    assert sidecar.stop() == 0
    receipt = forget(sidecar, "--tenant", "acme")
    assert receipt["removed"]["archive"]["samples"] == 620
    assert receipt["removed"]["archive"]["emptied"] == receipt["removed"]["archive"]["files"]
    assert not list((tmp_path / "archive").rglob("*.parquet"))
    found = [
        path for path in (sidecar.checkpoints / "state").rglob("*") if path.is_file() and b"acme" in path.read_bytes()
    ]
    assert found == []
    assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []
    sidecar.start()
    with sidecar.client() as client:
        send(client, 700, 30)
    sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 30)


@pytest.mark.parametrize(("option", "value", "left"), [("--group", "clip 0", 604), ("--before", "2100-01-01", 0)])
def test_by_group_and_by_time(sidecar: Sidecar, tmp_path: Path, option: str, value: str, left: int) -> None:
    """What fits goes, nothing else."""
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 620)
    receipt = forget(sidecar, option, value)
    assert receipt["removed"]["memory"]["ring"] == 620 - left
    sidecar.wait_for(sidecar.is_well)
    assert len(rows(tmp_path / "archive")) == left


def test_killed_half_way(sidecar: Sidecar, tmp_path: Path) -> None:
    """At any moment: the sidecar goes on by itself, and the next command does the rest, whatever it is asked."""
    arguments = [*COMMAND, "forget", "--job", JOB, "--socket", str(sidecar.socket)]
    pending = sidecar.checkpoints / "state" / "forget.json"
    with subprocess.Popen(arguments, env=sidecar.environment, stdout=subprocess.DEVNULL) as command:
        sidecar.wait_for(pending.exists)
        os.kill(command.pid, signal.SIGKILL)
    sidecar.wait_for(sidecar.is_well)
    done = sidecar.command("forget", "--job", "no such job")
    assert done.returncode == 0, done.stderr
    assert not pending.exists()
    sidecar.wait_for(sidecar.is_well)
    assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []


def test_what_cannot_be_reached_is_said(sidecar: Sidecar, tmp_path: Path) -> None:
    """The archive's directory is away: the rest goes, the code is 1, and the next command does what is left."""
    (tmp_path / "archive").rename(tmp_path / "aside")
    (tmp_path / "archive").write_text("not a directory")
    done = sidecar.command("forget", "--job", JOB)
    assert done.returncode == 1
    assert [each.split(":")[0] for each in json.loads(done.stdout)["not_reached"]] == ["archive"]
    (tmp_path / "archive").unlink()
    (tmp_path / "aside").rename(tmp_path / "archive")
    forget(sidecar, "--job", JOB)
    sidecar.wait_for(sidecar.is_well)
    assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []


@pytest.mark.parametrize(("arguments", "told"), [((), "--job"), (("--before", "soon"), "2026-11-22")])
def test_mistakes_are_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    """In a line, with the code for wrong usage."""
    done = Sidecar(tmp_path).command("forget", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
