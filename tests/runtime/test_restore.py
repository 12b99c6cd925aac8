"""What a starting process reads: nothing where its regions are there, else the saved state, once, with patience."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import CapturingLogger

from pipeline import config
from pipeline.runtime import restore, saved_state
from pipeline.runtime.restore import Saved
from pipeline.runtime.saved_state import SavedRows, SavedState
from pipeline.shm.ring import Ring
from pipeline.shm.rows import row_words
from tests.support.rows import rows_of

N_FEATURES = 80
DIGEST = "a1" * 32


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    """Return settings of a directory in which 30 samples and two states are saved."""
    chosen = config.load({"VMAFX_SIDECAR_CHECKPOINT_DIR": str(tmp_path)})
    chosen.state_dir.mkdir()
    ring = Ring.private(64, N_FEATURES)
    ring.extend(rows_of(np.arange(30)))
    rows = SavedRows(ring.snapshot()[0].words, 30)
    for _ in range(2):
        saved_state.save(chosen.state_dir, SavedState(N_FEATURES, DIGEST, {"ring": rows}, ring=ring.identity))
    return chosen


class Disk:
    """Counts what is read, and fails as often as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failures: int = 0) -> None:
        self.reads = 0
        read_bytes = Path.read_bytes

        def counted(path: Path) -> bytes:
            self.reads += 1
            if self.reads <= failures:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", counted)


def empty_ring() -> Ring:
    """Return a ring that nobody has filled yet."""
    ring = Ring.private(64, N_FEATURES)
    ring._identity.store(0)
    return ring


def events(log: CapturingLogger) -> list[str]:
    """Return the names of the log events, with their levels."""
    return [f"{call.method_name} {call.args[0]}" for call in log.calls]


def test_the_state_is_read_once_and_only_for_what_is_new(
    settings: config.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring that is there is left as it is, also where it is empty."""
    disk = Disk(monkeypatch)
    saved = Saved(settings, CapturingLogger())
    ring = Ring.private(64, N_FEATURES)
    assert not restore.fill_ring(ring, saved)
    assert (disk.reads, ring.head) == (0, 0)
    ring = empty_ring()
    assert restore.fill_ring(ring, saved)
    assert saved.of_base(DIGEST) is not None
    assert (disk.reads, ring.head, ring.restored) == (1, 30, 30)
    assert ring.position(saved.state.ring, 20) == 20


def test_a_read_error_that_passes_costs_nothing(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files cannot be read at first: it is said, and tried again."""
    monkeypatch.setattr(restore, "_RETRY_S", 0.0)
    Disk(monkeypatch, failures=6)
    log = CapturingLogger()
    ring = empty_ring()
    assert restore.fill_ring(ring, Saved(settings, log))
    assert ring.head == 30
    assert events(log) == ["warning state_unreadable"] * 3


def test_a_read_error_that_stays_is_given_up(settings: config.Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins with nothing, says so, and the files are as they were."""
    monkeypatch.setattr(restore, "_PATIENCE_S", 0.0)
    before = sorted(settings.state_dir.iterdir())
    Disk(monkeypatch, failures=1000)
    log = CapturingLogger()
    ring = empty_ring()
    assert not restore.fill_ring(ring, Saved(settings, log))
    assert ring.identity
    assert events(log) == ["warning state_unreadable", "error state_unusable", "error state_unusable"]
    assert sorted(settings.state_dir.iterdir()) == before


def test_states_of_base_models_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    """One a base model, the newest; one that is further on makes room under another name only."""
    digests = [f"{number:x}" * 64 for number in range(1, 8)]
    for samples, digest in enumerate([*digests, digests[-1]], start=10):
        saved_state.save(
            tmp_path, SavedState(6, digest, {"ring": SavedRows(np.zeros((0, row_words(6)), np.float32), samples)})
        )
        saved_state.keep_for_its_base(tmp_path)
    assert len(saved_state.of_other_bases(tmp_path)) == saved_state.KEPT_BASES
    assert saved_state.of_base(tmp_path, digests[0]) is None
    newest = saved_state.of_base(tmp_path, digests[-1])
    assert newest is not None
    assert newest.regions["ring"].count == 17
    saved_state.save(tmp_path, SavedState(6, digests[-1]))
    saved_state.keep_for_its_base(tmp_path)
    assert [path.name for path in tmp_path.glob("base-*.broken")] == [f"base-{digests[-1][:16]}.bin.broken"]


def test_a_broken_newest_state_does_not_keep_the_one_before_from_staying(tmp_path: Path) -> None:
    """Nor does a directory that somebody has emptied keep the next state from being saved."""
    saved_state.keep_for_its_base(tmp_path)
    for samples in (1, 2):
        rows = SavedRows(np.zeros((0, row_words(6)), np.float32), samples)
        saved_state.save(tmp_path, SavedState(6, DIGEST, {"ring": rows}))
    (tmp_path / "state-000000002.bin").write_bytes(b"broken")
    saved_state.keep_for_its_base(tmp_path)
    kept = saved_state.of_base(tmp_path, DIGEST)
    assert kept is not None
    assert kept.regions["ring"].count == 1
