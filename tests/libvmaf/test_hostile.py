"""Each file of hostile/ is a log with something wrong; expected.json says which frames are used, and what is told."""

import json
from pathlib import Path

import pytest

from pipeline.libvmaf import reader
from tests.libvmaf.reading import read

LOGS = Path(__file__).with_name("hostile")
EXPECTED = json.loads((LOGS / "expected.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_what_can_be_used_is_and_the_rest_is_told(name: str) -> None:
    """In a line for each kind of problem, which names the frame or column, what was expected, and what was done."""
    found = read(LOGS / name)
    assert found.numbers == EXPECTED[name]["frames"]
    assert found.told == EXPECTED[name]["told"]


@pytest.mark.parametrize("size", [9, 500])
@pytest.mark.parametrize("name", EXPECTED)
def test_pieces_change_nothing(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the bytes come, the frames are the same, and so is how many kinds of problem there are."""
    monkeypatch.setattr(reader, "_PIECE", size)
    found = read(LOGS / name)
    assert found.numbers == EXPECTED[name]["frames"]
    assert len(found.told) == len(EXPECTED[name]["told"])


def test_every_file_has_its_expectation() -> None:
    """A file that nobody looks at protects nobody."""
    assert {path.name for path in LOGS.iterdir()} - {"expected.json"} == set(EXPECTED)


def test_frameless_bytes_without_end_are_given_up(tmp_path: Path) -> None:
    """A file that begins like a log is not read into memory for ever."""
    path = tmp_path / "endless.json"
    with path.open("wb") as file:
        file.write(b'{"frames": [ {"frameNum": 0, "metrics": {')
        file.truncate(1 << 28)
    assert read(path).told == ["has no frame in 16 MiB; expected a log of libvmaf in JSON, XML or CSV"]
