"""`vmafx-sidecar encode` with a real ffmpeg: what it sends, what it shows and when, and how it ends."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpus.pairs import Limits, find_pairs, parse_ladder
from pipeline.data import BASE_MODEL
from pipeline.encode.plan import GENERATED, in_turn
from pipeline.model.runtime import OnnxModel
from tests.libvmaf.reading import read
from tests.node.scripted_sidecar import ScriptedSidecar
from tests.support.ffmpeg import needs_ffmpeg
from tests.support.processes import environment

ROW = re.compile(r"^(\w+) (\w+)-(\d+) +(\w+) +(-?[\d.]+) +([\d.]+) +(-?[\d.]+) +(-?[\d.]+)$", re.MULTILINE)
TINY = ("lavfi:testsrc2=size=96x80", "lavfi:mandelbrot=size=96x80", "--ladder", "libx264:24,44", "--frames", "6")


def encode(*arguments: str | Path) -> "subprocess.Popen[str]":
    """Start the command."""
    command = [sys.executable, "-m", "pipeline", "encode", *map(str, arguments)]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_source_comes_once_a_round_at_rungs_of_its_own() -> None:
    """So that a sidecar sees all sources early, and no round is all good or all bad."""
    pairs = find_pairs(GENERATED[:3], parse_ladder(["libx264:20,30,40"]), Limits(1, 64, ""))
    turns = in_turn(pairs)
    assert len(set(turns)) == len(turns) == 9
    for start in (0, 3, 6):
        assert len({pair.source for pair in turns[start : start + 3]}) == 3
        assert len({pair.label for pair in turns[start : start + 3]}) == 3


@needs_ffmpeg
def test_what_is_sent_and_shown_is_what_libvmaf_measured(tmp_path: Path) -> None:
    """Each encode's frames with its fields; in the table the model's prediction beside the score of the log."""
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        run = encode(*TINY, "--target", "vmaf_neg", "--socket", tmp_path / "s.sock", "--logs", tmp_path / "logs")
        output, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert len(sidecar.received) == 4 * 6
    rows = ROW.findall(output)
    assert {row[:3] for row in rows} == {(s, "libx264", q) for s in ("testsrc2", "mandelbrot") for q in ("24", "44")}
    model = OnnxModel(BASE_MODEL)
    for source, codec, crf, name, predicted, measured, off, base_off in rows:
        log = read(tmp_path / "logs" / f"{source}_{codec}-{crf}.json", "vmaf_neg")
        messages = [each for each in sidecar.received if each["job_id"].startswith(f"{source}_{codec}-{crf}/")]
        assert [each["features"] for each in messages] == log.features
        assert [each["true_score"] for each in messages] == log.scores
        assert {each["source_id"] for each in messages} == {source}
        assert {(each["codec"], each["crf"], each["vmaf_model"]) for each in messages} == {
            (codec, float(crf), "vmaf_neg")
        }
        assert name == "base_model"
        expected = sum(model.predict(np.array(log.features, np.float32)).tolist()) / 6
        assert float(predicted) == pytest.approx(expected, abs=0.006)
        assert float(measured) == pytest.approx(sum(log.scores) / 6, abs=0.006)
        assert float(off) == float(base_off) == pytest.approx(float(predicted) - float(measured), abs=0.011)


@needs_ffmpeg
def test_a_prediction_is_shown_before_the_score_is_measured(tmp_path: Path) -> None:
    """The first half of the line is there while libvmaf has yet to write the log of the score."""
    with ScriptedSidecar(tmp_path / "s.sock"):
        run = encode(*TINY, "--socket", tmp_path / "s.sock", "--logs", tmp_path / "logs")
        assert run.stdout is not None
        run.stdout.readline()
        shown = run.stdout.read(56)
        logs = list((tmp_path / "logs").iterdir())
        run.communicate(timeout=120)
    assert re.fullmatch(r"testsrc2 libx264-24 +base_model +[\d.]+", shown)
    assert logs == []


@needs_ffmpeg
@pytest.mark.processes
def test_it_brings_a_sidecar_of_its_own_and_takes_it_away() -> None:
    """Stopped in the middle, it says what it came to, and leaves nothing."""
    run = encode(*TINY, "--own-sidecar", "--ladder", "libx264:20,22,24,26,28,30,32,34,36,38")
    assert run.stdout is not None
    for _ in range(3):
        run.stdout.readline()
    run.send_signal(signal.SIGTERM)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 0, errors
    assert "RMSE of predictions" in output
    sent = re.search(r"logs: (\d+); samples: (\d+), \2 accepted, 0 refused, 0 not answered", output)
    assert sent is not None
    assert 2 <= int(sent[1]) < 20
    assert int(sent[2]) == 6 * int(sent[1])


@needs_ffmpeg
def test_a_reference_that_cannot_be_read_is_said_in_a_line(tmp_path: Path) -> None:
    """And what was encoded before it has been sent."""
    (tmp_path / "text.mp4").write_text("this is no video")
    with ScriptedSidecar(tmp_path / "s.sock") as sidecar:
        arguments = (TINY[0], tmp_path / "text.mp4", *TINY[2:])
        run = encode(*arguments, "--socket", tmp_path / "s.sock")
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 1
        assert errors.splitlines()[-1].startswith("Error: text, libx264-44: ffmpeg failed")
        assert len(sidecar.received) == 6
