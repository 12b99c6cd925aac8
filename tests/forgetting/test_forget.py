"""`vmafx-sidecar forget`: afterwards a search of raw bytes finds the job nowhere that the sidecar keeps anything."""

import itertools
import json
import os
import re
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import published
from pipeline.cli import cli
from pipeline.forgetting.names import label
from pipeline.forgetting.selection import Selection
from pipeline.ingest.dedup import name_hashes
from pipeline.runtime import control, journal, regions, saved_state
from pipeline.runtime.locks import Claim
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import SHM_DIR
from pipeline.trainer.holdout import ONE_IN
from tests.archive.feed import rows
from tests.support.client import Client, Json
from tests.support.sidecar import COMMAND, QUICK, Sidecar, running

pytestmark = pytest.mark.processes

JOB = "job-to-be-forgotten-17"
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
        whose = {"tenant_id": "acme", "source_id": f"clip {number % 40}", "node_id": f"n{number % 5}"}
        assert client.ask(sample(job, number, **whose))["ok"]


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


def test_names_go_from_what_was_written(tmp_path: Path) -> None:
    """From a real verdict, wherever it was written; from figures, learning curve, orders, events and saved reports.

    The job is a held-out group of its own, and a tenant: its scores are what the untrained model predicts, so training
    makes it worse, and the gate names it.
    """
    assert name_hashes([JOB])[0] % np.uint64(ONE_IN) == 0
    settings = QUICK | {"VMAFX_SIDECAR_CPU_SHARE": "0.5", "VMAFX_SIDECAR_ARCHIVE_DIR": str(tmp_path / "archive")}
    with running(tmp_path, **settings) as sidecar:
        with sidecar.client() as client:
            for first in itertools.count(0, 200):
                client.ask_all(learnable(number) for number in range(first, first + 200))
                if sidecar.reported().exporter.latest_reason.startswith(f"held-out: Worse for group {JOB}"):
                    break
        assert sidecar.command("pause").returncode == 0
        assert sidecar.command("quarantine", "--group", JOB, "--reason", f"{JOB} looks wrong").returncode == 0
        sidecar.wait_for(lambda: all(JOB.encode() in each for each in written(sidecar).values()))
        state, version = sidecar.checkpoints / "state", max(published(sidecar.checkpoints))
        receipt = forget(sidecar, "--job", JOB)
        assert receipt["removed"]["names"]["checkpoints"] > 0
        assert receipt["removed"]["names"]["registry"] == 1
        assert receipt["removed"]["names"]["history"] > 0
        assert receipt["removed"]["names"]["orders"] == 1
        assert receipt["removed"]["names"]["reports"] > 0
        assert not [each for each in receipt["stays"] if each.startswith("a name in")]
        assert label(JOB).encode() in written(sidecar)["registry.json"]
        assert sidecar.command("resume").returncode == 0
        sidecar.wait_for(sidecar.is_well)
        assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []
        judged = checkpoint.read(sidecar.checkpoints, version)
        assert f"Worse for group {label(JOB)}" in judged.reason
        assert set(judged.metrics["held-out"].by["tenant"]) == {label(JOB), "acme"}
        quarantine = control.read(state).control.quarantines[0]
        assert (quarantine.group, quarantine.group_hash) == (label(JOB), int(label(JOB), 16))
        assert label(JOB) in control.history(state)[1].reason
        assert sidecar.fsck() == []


def learnable(number: int) -> Json:
    """Return one of a stream whose score is its first feature; that of JOB, of which every tenth is, is 0."""
    x = number * 0.6180339887 % 1
    if number % 10 == 0:
        whose = {"job_id": JOB, "source_id": JOB, "tenant_id": JOB, "node_id": f"node of {JOB}"}
        return whose | {"features": [x, SECRET, 0.25, 0.5, 0.75, 0], "true_score": 0}
    whose = {
        "job_id": f"{number}",
        "tenant_id": "acme",
        "node_id": f"{number % 7}",
        "source_id": f"clip {number % 401}",
    }
    return whose | {"features": [x, 0.5, 0.25, 0.5, 0.75, 0], "true_score": 100 * x}


def written(sidecar: Sidecar) -> dict[str, bytes]:
    """Return the bytes of what a verdict is written to: files, and what is in memory and in the saved state."""
    state, _ = saved_state.load(sidecar.checkpoints / "state")
    event = journal.attach_journals(sidecar.instance).box("exporter").read()
    return {
        "registry.json": (sidecar.checkpoints / "registry.json").read_bytes(),
        "history.sqlite": (sidecar.checkpoints / "state" / "history.sqlite").read_bytes(),
        "checkpoint": (sidecar.checkpoints / f"model_v{max(published(sidecar.checkpoints)):06d}.json").read_bytes(),
        "journal": b"" if event is None else event.payload,
        "saved report": b"" if state is None else state.reports["exporter"],
    }


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


def test_a_tenant_comes_back_when_it_is_let_in(tmp_path: Path) -> None:
    """Without `captured_at`, once the ring knows the key no more: kept out and told, until an operator lifts it."""
    with running(tmp_path, **QUICK, VMAFX_SIDECAR_REPLAY_CAPACITY="64") as sidecar:
        with sidecar.client() as client:
            send(client, 0, 11)
            forget(sidecar, "--tenant", "acme")
            sidecar.wait_for(sidecar.is_well)
        with sidecar.client() as client:
            for first in range(100, 1500, 100):
                client.ask_all(sample("other", number) for number in range(first, first + 100))
        sidecar.wait_for_another("ingest", sidecar.kill("ingest"))
        accepted = sidecar.samples()
        with sidecar.client() as client:
            assert client.ask(sample("other-1", 2, tenant_id="acme", source_id="clip 1"))["ok"]
            assert client.ask(sample("other-1", 1, tenant_id="acme", captured_at="2999-01-01T00:00:00Z"))["ok"]
        assert sidecar.samples() == accepted + 1
        sidecar.wait_for(lambda: sidecar.reported().ingest.forgotten == 1)
        assert "1 forgotten, kept out" in sidecar.command("status").stdout
        assert [each for each in sidecar.reported().trainer.orders if "forget --list" in each]
        rule = f"tenant 0x{label('acme')}"
        assert rule in sidecar.command("forget", "--list").stdout
        assert sidecar.command("forget", "--tenant", "b", "--lift").returncode == 1
        assert sidecar.command("forget", "--tenant", rule.removeprefix("tenant "), "--lift").returncode == 0
        assert sidecar.command("forget", "--list").stdout == "nothing is kept out\n"
        assert [each.text for each in control.history(sidecar.checkpoints / "state")] == [
            "forget --tenant",
            "forget --lift --tenant",
        ]
        sidecar.wait_for(lambda: sidecar.reported().trainer.orders == [])
        with sidecar.client() as client:
            assert client.ask(sample("other-1", 2, tenant_id="acme", source_id="clip 1"))["ok"]
        assert sidecar.samples() == accepted + 2


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
        for number in range(700, 730):
            client.ask(sample("other", number, tenant_id="acme", captured_at="2999-01-01T00:00:00Z"))
    sidecar.wait_for(lambda: sidecar.reported().trainer.lag == 0)
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 30)


def test_by_group_node_and_time(sidecar: Sidecar, tmp_path: Path) -> None:
    """What fits goes, nothing else."""
    before = 620
    for option, value, left in (("--group", "clip 0", 604), ("--node", "n3", 480), ("--before", "2100-01-01", 0)):
        sidecar.wait_for(lambda before=before: len(rows(tmp_path / "archive")) == before)  # type: ignore[misc]
        receipt = forget(sidecar, option, value)
        assert receipt["removed"]["memory"]["ring"] == before - left
        sidecar.wait_for(sidecar.is_well)
        assert len(rows(tmp_path / "archive")) == left
        before = left


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


@pytest.mark.parametrize("removed", [pytest.param(False, marks=pytest.mark.long), True])
def test_learning_again_killed_half_way(sidecar: Sidecar, tmp_path: Path, removed: bool) -> None:
    """Before or after everything is removed: the next command learns again, whatever it is asked."""
    sidecar.wait_for(lambda: len(rows(tmp_path / "archive")) == 620)
    arguments = [*COMMAND, "forget", "--job", JOB, "--retrain", "--socket", str(sidecar.socket)]
    state = sidecar.checkpoints / "state"
    pending = state / "forget.json"
    with subprocess.Popen(arguments, env=sidecar.environment, stdout=subprocess.DEVNULL) as command:
        while not (pending.exists() and (JOB.encode() in pending.read_bytes()) is not removed):
            assert command.poll() is None
        os.kill(command.pid, signal.SIGKILL)
    assert command.returncode == -signal.SIGKILL
    sidecar.wait_for(sidecar.is_well)
    left = control.read(state).control.reset
    assert left is None or left.to == "base"
    if removed:
        assert traces(sidecar, sidecar.checkpoints, tmp_path / "archive") == []
    done = sidecar.command("forget", "--job", "no such job")
    assert done.returncode == 0, done.stderr
    assert "558 samples of the archive" in done.stdout
    assert not pending.exists()
    reset = control.read(state).control.reset
    assert reset is not None
    assert reset.to == "archive"
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--job"),
        (("--before", "soon"), "2026-11-22"),
        (("--lift",), "--tenant"),
        (("--lift", "--job", "a", "--before", "2020-01-01"), "--tenant"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    """In a line, with the code for wrong usage."""
    done = Sidecar(tmp_path).command("forget", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_nothing_is_removed_by_the_side_of_a_sidecar_that_the_command_does_not_find(tmp_path: Path) -> None:
    """With another name or socket: it would write again what it has, and the receipt would say that all is gone."""
    settings = {"VMAFX_SIDECAR_SOCKET": str(tmp_path / "another.sock"), "VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)}
    claim = Claim(tmp_path)
    claim.hold()
    done = CliRunner().invoke(cli, ["forget", "--job", JOB], env=settings)
    claim.release()
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{tmp_path}: another sidecar publishes here" in done.stderr
    assert not (tmp_path / "state").exists()
