"""`vmafx-sidecar send` into a real sidecar, or into one that answers as the test wants."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.libvmaf import ledger
from pipeline.libvmaf.changes import Changes
from pipeline.libvmaf.naming import Naming
from pipeline.libvmaf.pool import FRAME, MEAN
from pipeline.libvmaf.samples import Wanted
from pipeline.libvmaf.sender import Sender
from pipeline.libvmaf.watch import Watch
from pipeline.model import features
from pipeline.model.features import Features
from tests.libvmaf.reading import ENCODE, LOGS, read
from tests.node.scripted_sidecar import Message, ScriptedSidecar, ok
from tests.support.processes import environment
from tests.support.sidecar import SIX, running
from tests.support.waiting import eventually

HOSTILE = Path(__file__).with_name("hostile")


def send(socket: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "pipeline", "send", *map(str, arguments), "--socket", str(socket)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def sending(socket: Path, *arguments: str | Path) -> "Iterator[subprocess.Popen[str]]":
    """Run the command while the block lasts."""
    command = [sys.executable, "-m", "pipeline", "send", *map(str, arguments), "--socket", str(socket)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


@pytest.mark.processes
def test_a_sidecar_holds_what_libvmaf_wrote(tmp_path: Path) -> None:
    """The same rows from JSON, XML and CSV; sent again under the same names, nothing is stored twice."""
    with running(tmp_path, **SIX) as sidecar:
        for path in ENCODE:
            done = send(sidecar.socket, path, "--target", "vmaf_phone", "--job-id", path.suffix)
            assert done.returncode == 0, done.stderr
            assert done.stdout == "logs: 1; samples: 12, 12 accepted, 0 refused, 0 not answered\n"
            assert send(sidecar.socket, path, "--target", "vmaf_phone", "--job-id", path.suffix).returncode == 0
        assert sidecar.samples() == 36
        expected = read(ENCODE[0], "vmaf_phone")
        rows = sidecar.rows()
        np.testing.assert_array_equal(rows.features, np.tile(np.array(expected.features, np.float32), (3, 1)))
        np.testing.assert_array_equal(rows.score, np.tile(np.array(expected.scores, np.float32), 3))


def test_fields_of_the_wire_come_from_name_and_options(tmp_path: Path) -> None:
    """And what identifies a frame is the log's name with the frame's number."""
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        named = (
            "--file-name",
            "{source_id}_{codec}_{crf}",
            "--preset",
            "slow",
            "--height",
            "90",
            "--set",
            "backend=ffmpeg",
        )
        assert send(tmp_path / "s.sock", ENCODE[2], *named).returncode == 0
        first, last = sidecar.received[0], sidecar.received[-1]
    assert {name: first[name] for name in first.keys() - {"features", "true_score"}} == {
        "job_id": "mandelbrot_libx264_36/0",
        "source_id": "mandelbrot",
        "codec": "libx264",
        "crf": 36.0,
        "preset": "slow",
        "height": 90,
        "backend": "ffmpeg",
        "vmaf_model": "vmaf",
    }
    assert last["job_id"] == "mandelbrot_libx264_36/11"


def test_pooled_samples_have_jobs_of_their_own(tmp_path: Path) -> None:
    """One a second, or one for the clip under the job's own name."""
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        assert send(tmp_path / "s.sock", ENCODE[0], "--pool", "second", "--frame-rate", "5").returncode == 0
        assert send(tmp_path / "s.sock", ENCODE[0], "--pool", "clip", "--mean", "harmonic_mean").returncode == 0
        assert sidecar.jobs() == [f"mandelbrot_libx264_36{each}" for each in ("/0s", "/1s", "/2s", "")]


def test_what_is_wrong_with_one_log_keeps_no_other_back(tmp_path: Path) -> None:
    """A line for each on standard error, the rest sent, and exit code 1."""
    logs = [HOSTILE / name for name in ("truncated.csv", "entities.xml", "empty.json")]
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        done = send(tmp_path / "s.sock", *logs, tmp_path / "absent.json", ENCODE[1])
        assert len(sidecar.received) == 4 + 12
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if line.startswith(str(HOSTILE.parent)) or "absent" in line]
    assert [line.partition(": ")[0] for line in told] == [*map(str, logs), str(tmp_path / "absent.json")]
    assert told[-1].endswith(": No such file or directory; left out")


def test_a_lost_sidecar_is_waited_for(tmp_path: Path) -> None:
    """It hangs up three times in mid-log: each frame is accepted in the end, in order, by the same job."""
    cut = {5, 6, 20}
    accepted: list[str] = []

    def answer(message: Message) -> bytes | None:
        number = len(sidecar.received)
        if number in cut:
            return None
        accepted.append(message["job_id"])
        return ok(message)

    with ScriptedSidecar(tmp_path / "s.sock", answer) as sidecar:
        done = send(tmp_path / "s.sock", ENCODE[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("logs: 1; samples: 12, 12 accepted, 0 refused, 0 not answered")
    assert list(dict.fromkeys(accepted)) == [f"mandelbrot_libx264_36/{number}" for number in range(12)]


@pytest.mark.processes
def test_killing_ingest_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """In the middle of a log of 20,000 frames."""
    log = long_log(tmp_path / "long.csv", 20_000)
    with running(tmp_path, **SIX, VMAFX_SIDECAR_REPLAY_CAPACITY="30000") as sidecar:
        with sending(sidecar.socket, log, "--rate", "8000") as run:
            eventually(lambda: sidecar.reported().ingest.accepted > 2000)
            pid = sidecar.signal("ingest", signal.SIGKILL)
            sidecar.wait_for_another("ingest", pid)
            output, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors
        assert output == "logs: 1; samples: 20,000, 20,000 accepted, 0 refused, 0 not answered\n"
        assert sidecar.samples() == 20_000


def long_log(path: Path, frames: int) -> Path:
    """Write a log of real frames, over and over, each a little different."""
    heading, *rows = ENCODE[2].read_text().splitlines()
    with path.open("w") as file:
        file.write(f"{heading}\n")
        for number in range(frames):
            _, first, rest = rows[number % len(rows)].split(",", 2)
            file.write(f"{number},{float(first) + number / 1e6:.6f},{rest}\n")
    return path


def test_a_sidecar_that_wants_none_is_told_of(tmp_path: Path) -> None:
    """Its reason is repeated; a long log is not read to its end."""
    log = long_log(tmp_path / "long.csv", 30_000)

    def refuse(message: Message) -> bytes:
        error = "features: feature vector length 6 != expected 80"
        return json.dumps({"ok": False, "error": error, "job_id": message["job_id"]}).encode() + b"\n"

    with ScriptedSidecar(tmp_path / "s.sock", refuse) as sidecar:
        done = send(tmp_path / "s.sock", log)
        assert len(sidecar.received) < 20_000
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: the sidecar accepts none of the samples: features: feature vector length 6 != expected 80"
    )


def test_no_sidecar_is_said_at_once(tmp_path: Path) -> None:
    """Exit code 3, as of other commands that find none."""
    done = send(tmp_path / "absent.sock", ENCODE[0])
    assert done.returncode == 3
    assert done.stderr.startswith(f"Error: no sidecar listens at {tmp_path / 'absent.sock'}: ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give either LOG or --watch"),
        (["a.json", "--watch", "."], "give either LOG or --watch"),
        (["a.json", "--pool", "second"], "--pool second needs --frame-rate"),
        (["a/x.json", "b/x.json"], "two logs would have the job_id 'x'"),
        (["a.json", "--set", "mood=good"], "expected FIELD=VALUE with job_id"),
        (["a.json", "--set", "width=wide"], "expected a number"),
        (["a.json", "--file-name", "{title}"], "file name pattern '{title}': expected"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], reason: str) -> None:
    """Before anything is read."""
    result = CliRunner().invoke(cli, ["send", *arguments])
    assert result.exit_code in {1, 2}
    assert reason in result.output


def test_a_directory_is_followed(tmp_path: Path) -> None:
    """Logs that are there, that come whole, in pieces, or cut short and completed later: each frame is sent once."""
    logs = tmp_path / "logs"
    logs.mkdir()
    shutil.copy(ENCODE[1], logs / "there.xml")
    text = ENCODE[2].read_bytes()
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        with sending(tmp_path / "s.sock", "--watch", logs, "--quiet-s", "0.5") as run:
            eventually(lambda: len(sidecar.received) == 12)
            shutil.copy(ENCODE[0], logs / ".hidden.json")
            (logs / ".hidden.json").rename(logs / "whole.json")
            with (logs / "growing.csv").open("wb", buffering=0) as file:
                for start in range(0, len(text), 500):
                    file.write(text[start : start + 500])
                    time.sleep(0.05)
            (logs / "late.csv").write_bytes(text[:2500])
            eventually(lambda: "late/5" in sidecar.jobs())
            eventually(lambda: b"late.csv" in (logs / ".vmafx-sent.sqlite").read_bytes())
            (logs / "late.csv").write_bytes(text)
            (logs / "notes.txt").write_text("no log")
            eventually(lambda: len(sidecar.received) >= 4 * 12)
            run.send_signal(signal.SIGTERM)
            output, _ = run.communicate(timeout=30)
        assert run.returncode == 0
        assert output.splitlines()[-1] == "logs: 5; samples: 48, 48 accepted, 0 refused, 0 not answered"
        expected = [f"{job}/{number}" for job in ("there", "whole", "growing", "late") for number in range(12)]
        assert sorted(sidecar.jobs()) == sorted(expected)


def test_what_was_sent_is_not_sent_by_the_next_watch(tmp_path: Path) -> None:
    """A log under an old name that is another one is."""
    logs = tmp_path / "logs"
    logs.mkdir()

    def watched(expected: int) -> list[str]:
        """Watch until a log that is new, the last by name, is noted; return the names of those that were sent."""
        shutil.copy(LOGS / "subsampled.json", logs / f"z{expected}.json")
        with sending(tmp_path / "s.sock", "--watch", logs) as run:
            assert run.stdout is not None
            lines = [run.stdout.readline()]
            while lines[-1] and not lines[-1].startswith("z"):
                lines.append(run.stdout.readline())
            eventually(lambda: f"z{expected}.json".encode() in (logs / ".vmafx-sent.sqlite").read_bytes())
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=30)
        assert run.returncode == 0
        assert len(sidecar.received) == expected
        return [line.split(":")[0] for line in lines]

    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        shutil.copy(ENCODE[0], logs / "vmaf.json")
        assert watched(15) == ["vmaf.json", "z15.json"]
        assert watched(18) == ["z18.json"]
        shutil.copy(LOGS / "subsampled.json", logs / "vmaf.json")
        assert watched(24) == ["vmaf.json", "z24.json"]


def test_a_signal_that_came_before_the_watch_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop while it was still starting, it does not begin to wait: no second signal would come."""

    def wait(_changes: Changes, seconds: float | None) -> set[str]:
        raise AssertionError(f"waited {seconds} seconds after it was told to stop")

    monkeypatch.setattr(Changes, "wait", wait)
    stop = threading.Event()
    stop.set()
    with ScriptedSidecar(tmp_path / "s.sock"), ledger.opened(tmp_path) as sent:
        wanted = Wanted(Features.of(features.SIX), "vmaf", True, FRAME, MEAN, 0.0)
        sender = Sender(tmp_path / "s.sock", wanted, Naming(), stop, print)
        Watch(tmp_path, sender, sent, stop, 5.0, print).run()
        sender.client.close(drain_timeout=0.0)
    assert sender.counts.logs == 0


def test_an_idle_watch_does_nothing(tmp_path: Path) -> None:
    """While nothing changes it is not even woken up."""
    with ScriptedSidecar(tmp_path / "s.sock"), sending(tmp_path / "s.sock", "--watch", tmp_path) as run:
        process = psutil.Process(run.pid)

        def rests() -> bool:
            before = process.num_ctx_switches().voluntary
            time.sleep(1.0)
            return process.num_ctx_switches().voluntary == before

        assert eventually(rests)
