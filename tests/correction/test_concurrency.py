"""Several encodes recording at once, some of them killed."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.correction import CorrectionStore
from pipeline.correction.captures import columns
from pipeline.correction.host import host_id
from tests.correction.encodes import encodes
from tests.correction.recorder import LINEAR
from tests.correction.reference import batch_ridge
from tests.support.processes import REPOSITORY

FEATURES = ("bitrate", "i_bytes", "fps")


def start(cache_dir: Path, seed: int, n: int) -> subprocess.Popen[str]:
    """Start a process that records n captures."""
    command = [sys.executable, "-m", "tests.correction.recorder", str(cache_dir), str(seed), str(n)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@pytest.mark.processes
def test_eight_processes_recording_at_once_lose_nothing(tmp_path: Path) -> None:
    """The fit of what 8 processes recorded side by side is the batch fit of all their captures together."""
    processes = [start(tmp_path, seed, 40) for seed in range(8)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [output.count("recorded") for output in outputs] == [40] * 8
    correction = CorrectionStore("v1", tmp_path, LINEAR).load("libx264")
    assert correction.captures == 320
    assert len(correction.history) == 320
    everything = [capture for seed in range(8) for capture in encodes(40, noise=2.0, seed=seed)]
    rows = np.array([columns(capture, FEATURES) for capture in everything])
    residuals = np.array([capture.observed - capture.predicted for capture in everything])
    w0, weights = batch_ridge(rows, residuals, quadratic=False)
    expected = w0 + (rows - rows.mean(0)) @ weights
    learned = [correction.apply(capture).correction for capture in everything]
    np.testing.assert_allclose(learned, expected, atol=1e-8, rtol=0)


@pytest.mark.processes
def test_killed_processes_lose_only_what_they_had_not_acknowledged(tmp_path: Path) -> None:
    """SIGKILL at any instant leaves a whole state, a free lock, and every capture that was reported as recorded."""
    processes = [start(tmp_path, seed, 100_000) for seed in range(4)]
    acknowledged = 0
    for number, process in enumerate(processes):
        assert process.stdout is not None
        for _ in range(10 + 7 * number):
            acknowledged += process.stdout.readline() == "recorded\n"
        process.kill()
        acknowledged += process.stdout.read().count("recorded\n")
        process.wait(timeout=60)
        process.stdout.close()
    store = CorrectionStore("v1", tmp_path, LINEAR)
    captures = store.load("libx264").captures
    assert acknowledged <= captures <= acknowledged + len(processes)
    store.record("libx264", encodes(1)[0])
    assert store.load("libx264").captures == captures + 1
    assert sorted(path.name for path in store.path("libx264").parent.iterdir()) == ["state.json", "state.json.lock"]


@pytest.mark.processes
def test_a_reader_sees_whole_states_only_and_never_an_older_one(tmp_path: Path) -> None:
    """While another process records, reading without a lock gives whole states in the order they were written."""
    store = CorrectionStore("v1", tmp_path, LINEAR)
    process = start(tmp_path, 0, 100)
    seen = [0]
    give_up = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < give_up:
        seen.append(store.load("libx264").captures)
    process.communicate(timeout=60)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert store.load("libx264").captures == 100


@pytest.mark.processes
def test_processes_that_start_at_once_agree_on_the_host_id(tmp_path: Path) -> None:
    """Whoever comes first makes the id; all others read it."""
    code = (
        "import sys, pathlib; from pipeline.correction.host import host_id; print(host_id(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    printed = {process.communicate(timeout=60)[0].strip() for process in started}
    assert printed == {host_id(tmp_path)}
