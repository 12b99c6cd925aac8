"""State files: what is written is read back; what is broken is told apart, and the one before it is used."""

import hashlib
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest

from pipeline.state import statefile
from tests.exporter.dying import completes, kill, refuse

META = {"base": "abc", "step": 12, "nested": {"groups": [1, 2]}}


def newest(directory: Path) -> tuple[statefile.Saved | None, list[statefile.Rejected]]:
    """Return the newest state as it was written."""
    return statefile.newest(directory, lambda saved: saved)


def save(directory: Path, number: int = 0) -> Path:
    """Write a small state that carries `number`."""
    sections: dict[str, statefile.Section] = {
        "ring": np.full((3, 5), number, np.float32),
        "key": np.array([2**64 - 1], np.uint64),
        "weights": b"\x00opaque",
        "empty": b"",
        "no rows": np.zeros((0, 7), np.float32),
    }
    return statefile.write(directory, META | {"number": number}, sections)


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
        with pytest.raises(statefile.StateFileError):
            statefile.read(path)
        path.write_bytes(whole[:position])
        with pytest.raises(statefile.StateFileError):
            statefile.read(path)


def test_the_one_before_a_broken_file_is_used(tmp_path: Path) -> None:
    """The reason names the file; set aside, it is kept but not read again."""
    save(tmp_path, 1)
    last = save(tmp_path, 2)
    last.write_bytes(last.read_bytes()[:-1])
    saved, rejected = newest(tmp_path)
    assert saved is not None
    assert saved.meta["number"] == 1
    assert [(r.path, "cut short" in r.reason and str(last) in r.reason) for r in rejected] == [(last, True)]
    aside = statefile.set_aside(last)
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
    content = statefile.MAGIC + struct.pack("<I", len(header)) + header + b"\0" * 4
    path = tmp_path / "state-000000001.bin"
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(statefile.StateFileError):
        statefile.read(path)


def test_objects_cannot_be_saved(tmp_path: Path) -> None:
    """An array of Python objects would need pickle."""
    with pytest.raises(ValueError, match="object"):
        statefile.write(tmp_path, {}, {"x": np.array([object()])})


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
