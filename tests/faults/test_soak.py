"""The soak itself: a short one passes, and its accounts find what is lost, doubled, wrong or published twice."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.protocol import Sample
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from tests.faults.soak import Ledger, digests
from tests.faults.soak_feeder import BATCH, N_FEATURES, Tally, _line, hostile_lines, numbers_of, sample_numbers
from tests.support.processes import REPOSITORY
from tests.support.rows import append


class Memory:
    """What the ledger wants of a sidecar: the ring's rows."""

    def __init__(self, numbers: list[int]) -> None:
        import msgspec

        self._ring = Ring.private(1000, N_FEATURES)
        for number in numbers:
            sample = msgspec.json.decode(_line(number), type=Sample)
            append(self._ring, 0, number, sample.true_score, sample.features)

    def rows(self) -> RowBatch:
        """Return the rows."""
        return self._ring.snapshot()[0]


def errors(tally: Tally, stored: list[int]) -> list[str]:
    """Return what the ledger finds wrong."""
    ledger = Ledger()
    ledger.take(tally, Memory(stored))  # type: ignore[arg-type]
    return ledger.errors


def test_numbers_survive_the_way_through_float32() -> None:
    """Of any size that hours of soaking reach."""
    numbers = [0, 1, 2**20 - 1, 2**20, 123_456_789, 2**30 + 7]
    assert numbers_of(Memory(numbers).rows().features).tolist() == numbers


def test_losses_and_doubles_are_found() -> None:
    """One of twenty missing, one twice, one answer wrong."""
    tally = Tally(answered=[(3, 7)])
    numbers = sample_numbers(tally.answered).tolist()
    assert len(numbers) == BATCH
    assert errors(tally, numbers) == []
    assert errors(tally, numbers[1:]) == ["1 answered samples are not in the ring"]
    assert errors(tally, [*numbers, numbers[0]]) == ["1 samples are in the ring twice"]
    assert errors(Tally(answered=[(3, 7)], wrong=["a wrong answer"]), numbers) == ["a wrong answer"]


def test_batches_of_different_connections_never_share_a_number() -> None:
    """Or a loss could hide behind another client's sample."""
    batches = [(connection, batch) for connection in range(8) for batch in range(50)]
    assert len(np.unique(sample_numbers(batches))) == len(batches) * BATCH


def test_there_are_hostile_lines() -> None:
    """As many as the hostile tests refuse, each one line."""
    assert len(hostile_lines()) > 50
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in hostile_lines())


def test_a_checkpoint_may_be_removed_while_it_is_looked_at(tmp_path: Path) -> None:
    """One that is listed and gone when it is opened is not the sidecar's fault; the others are still looked at."""
    (tmp_path / "model_v000001.onnx").symlink_to(tmp_path / "gone")
    (tmp_path / "model_v000002.onnx").write_bytes(b"weights")
    assert digests(tmp_path) == {2: hashlib.sha256(b"weights").hexdigest()}


@pytest.mark.processes
def test_a_short_soak_passes() -> None:
    """Three faults or so, every sample accounted for, exit code 0."""
    command = [sys.executable, "-m", "tests.faults.soak", "--seconds", "10", "--rate", "500"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "- nothing" in done.stdout
