"""The learning curve on disk: bounded, whole, and never a reason to stop."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.monitor import history
from pipeline.monitor.history import COLUMNS, Evaluation, HistoryError, opened, thinned
from pipeline.monitor.record import Record
from tests.support.boards import at_work


def _evaluations(first: int, count: int) -> list[Evaluation]:
    return [(float(at), *([None] * (len(COLUMNS) - 1))) for at in range(first, first + count)]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Evaluations come back in order, with None where there was no figure; a checkpoint's later sidecar wins."""
    path = tmp_path / "history.sqlite"
    evaluation = (1.5, *(float(i) for i in range(len(COLUMNS) - 2)), None)
    with opened(path, write=True) as file:
        assert file.is_empty
        file.add([evaluation])
        file.put([(2, b'{"b": 1}'), (1, b'{"a": 1}')])
        file.put([(2, b'{"b": 2}')])
    with opened(path) as file:
        assert file.evaluations() == [evaluation]
        assert file.checkpoints() == [b'{"a": 1}', b'{"b": 2}']


def test_it_stays_small_and_keeps_the_recent_past(tmp_path: Path) -> None:
    """After 10,000 evaluations no more than the limit are left: the newest, the first, and ever fewer between."""
    path = tmp_path / "history.sqlite"
    for first in range(0, 10000, 50):
        with opened(path, limit=400, write=True) as file:
            file.add(_evaluations(first, 50))
    with opened(path) as file:
        kept = [evaluation[0] or 0.0 for evaluation in file.evaluations()]
    assert len(kept) <= 400
    assert kept[0] == 0.0
    assert kept[-20:] == [float(at) for at in range(9980, 10000)]
    assert kept == sorted(kept)
    by_age = [sum(9999 - high < at <= 9999 - low for at in kept) for low, high in ((0, 100), (100, 1000), (1000, 9000))]
    assert min(by_age) > 40


def test_memory_is_thinned_like_the_file() -> None:
    """The same bound holds in memory."""
    evaluations: list[Evaluation] = []
    for first in range(0, 10000, 50):
        evaluations = thinned(evaluations + _evaluations(first, 50), 400)
    assert len(evaluations) <= 400
    assert evaluations[-20:] == _evaluations(9980, 20)
    assert evaluations[0] == _evaluations(0, 1)[0]


def test_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    """A file that is no database, or of another version, is kept under another name and a new one is begun."""
    path = tmp_path / "history.sqlite"
    for content in (b"not a database at all, but long enough to be looked at" * 10, b""):
        path.write_bytes(content)
        with opened(path, write=True) as file:
            file.add(_evaluations(0, 1))
        with opened(path) as file:
            assert len(file.evaluations()) == 1
    assert path.with_suffix(".unreadable").exists()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with opened(path, write=True) as file:
        assert file.is_empty


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """What an exception interrupts is rolled back."""
    path = tmp_path / "history.sqlite"
    with opened(path, write=True) as file:
        file.add(_evaluations(0, 3))

    def fail() -> None:
        with opened(path, write=True) as file:
            file.add(_evaluations(3, 3))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with opened(path) as file:
        assert len(file.evaluations()) == 3


def test_reading_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    """A missing file is a HistoryError that names it."""
    with pytest.raises(HistoryError, match=r"absent\.sqlite"), opened(tmp_path / "absent.sqlite"):
        pass


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """Where the disk refuses (here: a limit on file size), the error names the file; what was there stays readable."""
    path = tmp_path / "history.sqlite"
    with opened(path, write=True) as file:
        file.add(_evaluations(0, 10))
    script = f"""
import resource
from pathlib import Path
from pipeline.monitor import history
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    with history.opened(Path({str(path)!r}), write=True) as file:
        file.add([(float(at), *([1.0] * (len(history.COLUMNS) - 1))) for at in range(2000)])
except history.HistoryError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert str(path) in result.stdout
    with opened(path) as file:
        assert len(file.evaluations()) == 10


def test_the_columns_are_the_trainers_figures(instance: str) -> None:
    """Every recorded figure is one that the trainer reports, by the same name."""
    from pipeline.runtime.health import examine

    record = Record()
    record.sample(examine(at_work(instance)))
    row = dict(zip(COLUMNS, record.evaluations[0], strict=True))
    assert row["samples"] == 12345
    assert row["prequential_ema_rmse"] == 0.5
    assert row["held_out_base_rmse"] == 13.0
    assert row["held_out_stable_rmse"] is None
    assert set(history.FIGURES) <= set(COLUMNS)
