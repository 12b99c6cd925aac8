"""State files: what is written is read back; what is broken is told apart, and the one before it is used."""

import errno
import hashlib
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest

from pipeline.runtime import saved_state, state_file
from pipeline.runtime.saved_state import SavedRows, SavedState
from pipeline.shm.rows import row_words
from tests.support.dying import completes, kill, refuse

META = {"base": "abc", "step": 12, "nested": {"groups": [1, 2]}}


def newest(directory: Path) -> tuple[state_file.Saved | None, list[state_file.Rejected]]:
    """Return the newest state as it was written."""
    return state_file.newest(directory, lambda saved: saved)


def save(directory: Path, number: int = 0) -> Path:
    """Write a small state that carries `number`."""
    sections: dict[str, state_file.Section] = {
        "ring": np.full((3, 5), number, np.float32),
        "key": np.array([2**64 - 1], np.uint64),
        "weights": b"\x00opaque",
        "empty": b"",
        "no rows": np.zeros((0, 7), np.float32),
    }
    return state_file.write(directory, META | {"number": number}, sections)[0]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Every section keeps its bytes, dtype and shape; meta is equal."""
    path = save(tmp_path, 7)
    saved, rejected = newest(tmp_path)
    assert saved is not None
    assert (saved.path, rejected) == (path, [])
    assert saved.meta == META | {"number": 7}
    assert list(saved.sections) == ["ring", "key", "weights", "empty", "no rows"]
    ring = saved.sections["ring"]
    assert isinstance(ring, np.ndarray)
    np.testing.assert_array_equal(ring, np.full((3, 5), 7, np.float32), strict=True)
    np.testing.assert_array_equal(saved.sections["key"], np.array([2**64 - 1], np.uint64), strict=True)
    assert saved.sections["weights"] == b"\x00opaque"
    assert saved.sections["empty"] == b""
    assert np.shape(saved.sections["no rows"]) == (0, 7)


def test_two_newest_are_kept(tmp_path: Path) -> None:
    """Five saves leave two files; numbers only grow; others cannot read them."""
    for number in range(5):
        save(tmp_path, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-000000004.bin", "state-000000005.bin"]
    assert (tmp_path / "state-000000005.bin").stat().st_mode & 0o777 == 0o600


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    """An absent directory and an empty one both mean a cold start."""
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "absent") == (None, [])


def test_any_single_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Each byte in turn is flipped, and each prefix is tried: none is taken for a state."""
    path = save(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(state_file.StateFileError):
            state_file.read(path)
        path.write_bytes(whole[:position])
        with pytest.raises(state_file.StateFileError):
            state_file.read(path)


def test_the_one_before_a_broken_file_is_used(tmp_path: Path) -> None:
    """The reason names the file; set aside, it is kept but not read again."""
    save(tmp_path, 1)
    last = save(tmp_path, 2)
    last.write_bytes(last.read_bytes()[:-1])
    saved, rejected = newest(tmp_path)
    assert saved is not None
    assert saved.meta["number"] == 1
    assert [(r.path, "cut short" in r.reason and str(last) in r.reason) for r in rejected] == [(last, True)]
    aside = state_file.set_aside(last)
    assert aside.read_bytes()
    assert newest(tmp_path)[1] == []


@pytest.mark.parametrize(
    "items",
    [
        [{"name": "x", "size": 4, "dtype": "<f4", "shape": [2]}],
        [{"name": "x", "size": 4, "dtype": "|O", "shape": [1]}],
        [{"name": "x", "size": 8, "dtype": "<f4", "shape": [2]}],
        [{"name": "x", "size": -4, "dtype": "", "shape": []}, {"name": "y", "size": 8, "dtype": "", "shape": []}],
        [{"name": "x", "size": 4, "dtype": "<f4", "shape": [-1]}],
        [{"name": "x", "size": 4, "dtype": "<f4", "shape": [-1, -1]}],
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, items: list[dict[str, object]]) -> None:
    """Even with a right digest, shapes, sizes and dtypes have to agree with the four bytes that are there."""
    header = msgspec.json.encode({"meta": {}, "items": items})
    content = state_file.MAGIC + struct.pack("<I", len(header)) + header + b"\0" * 4
    path = tmp_path / "state-000000001.bin"
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(state_file.StateFileError):
        state_file.read(path)


def test_objects_cannot_be_saved(tmp_path: Path) -> None:
    """An array of Python objects would need pickle."""
    with pytest.raises(ValueError, match="object"):
        state_file.write(tmp_path, {}, {"x": np.array([object()])})


@pytest.mark.parametrize("fault", [kill, refuse])
def test_no_fault_at_any_change_to_the_disk_costs_a_state(tmp_path: Path, fault: Callable[[], NoReturn]) -> None:
    """After each the newest valid file is the one before or the new one, and nothing is rejected."""
    for step in range(1, 50):
        directory = tmp_path / str(step)
        directory.mkdir()
        save(directory, 1)
        save(directory, 2)
        finished = completes(partial(save, directory, 3), step, fault)
        saved, rejected = newest(directory)
        assert saved is not None
        assert (saved.meta["number"] in (2, 3), rejected) == (True, [])
        if finished:
            assert saved.meta["number"] == 3
            assert step > 4, "a save changes the disk more often than this"
            return
    pytest.fail("the save never came to its end")


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """By the next save; a directory of such a name, and the files of others, stay."""
    (tmp_path / ".state-000000001.bin.abcdefgh.tmp").write_bytes(b"half")
    (tmp_path / ".state-x.tmp").mkdir()
    (tmp_path / ".history.tmp").touch()
    save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".history.tmp", ".state-x.tmp", "state-000000001.bin"]


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    """Not that of a file set aside, nor that of something that is no file; and nine digits are not the end."""
    aside = state_file.set_aside(save(tmp_path, 1))
    assert save(tmp_path, 2).name == "state-000000002.bin"
    assert aside.exists()
    (tmp_path / "state-000000007.bin").mkdir()
    assert save(tmp_path, 3).name == "state-000000008.bin"
    (tmp_path / "state-000000008.bin").rename(tmp_path / "state-999999999.bin")
    assert save(tmp_path, 4).name == "state-1000000000.bin"
    saved, rejected = newest(tmp_path)
    assert saved is not None
    assert (saved.meta["number"], rejected) == (4, [])


def test_what_cannot_be_read_now_is_not_called_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An I/O error may pass: who reads can ask again, and the file is neither removed nor taken for corrupt."""
    for number in (1, 2):
        save(tmp_path, number)
    last = tmp_path / "state-000000002.bin"
    read_bytes = Path.read_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: _refuse() if path == last else read_bytes(path))
        saved, rejected = newest(tmp_path)
    assert saved is not None
    assert saved.meta["number"] == 1
    assert [(each.path, each.is_broken) for each in rejected] == [(last, False)]
    last.write_bytes(b"no state")
    assert [each.is_broken for each in newest(tmp_path)[1]] == [True]


def _refuse() -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def state(samples: int, step: int) -> SavedState:
    """Make a state that is so far."""
    rows = SavedRows(np.zeros((0, row_words(6)), np.float32), samples)
    return SavedState(6, "a" * 64, {"ring": rows}, msgspec.msgpack.encode({"step": step}))


@pytest.mark.parametrize("later", [(10, 500), (1000, 5), (10, 5)])
def test_a_state_that_is_further_on_is_set_aside_not_removed(tmp_path: Path, later: tuple[int, int]) -> None:
    """After more samples or steps: both good files are there, and whole, however often an emptier state is saved."""
    for _ in range(2):
        assert saved_state.save(tmp_path, state(1000, 500)) == []
    aside = [path for _ in range(4) for path in saved_state.save(tmp_path, state(*later))]
    assert [path.name for path in aside] == ["state-000000001.bin.broken", "state-000000002.bin.broken"]
    assert [saved_state.parse(state_file.read(path)).regions["ring"].count for path in aside] == [1000, 1000]
    assert [path.name for path in state_file.files(tmp_path)] == ["state-000000005.bin", "state-000000006.bin"]


def test_a_state_that_goes_on_makes_the_old_ones_go(tmp_path: Path) -> None:
    """Nothing is set aside in a life in which all goes well."""
    assert [saved_state.save(tmp_path, state(100 * n, n)) for n in range(1, 6)] == [[]] * 5


def test_a_state_that_was_removed_or_broken_is_no_obstacle_to_another_base_model(tmp_path: Path) -> None:
    """There is nothing to keep, or the one before it is kept."""
    saved_state.keep_for_its_base(tmp_path)
    saved_state.save(tmp_path, state(10, 1))
    saved_state.save(tmp_path, state(20, 2))
    (tmp_path / "state-000000002.bin").write_bytes(b"no state")
    saved_state.keep_for_its_base(tmp_path)
    (kept,) = saved_state.of_other_bases(tmp_path)
    assert saved_state.parse(state_file.read(kept)).regions["ring"].count == 10
