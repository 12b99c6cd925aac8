"""Files that cannot be used: set aside, never written over, and learning starts afresh."""

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.correction import CorrectionError, CorrectionStore, Settings
from pipeline.correction.drift import rms
from pipeline.correction.state import CorruptState, OutdatedState, decode
from tests.correction.encodes import encodes

HOSTILE = Path(__file__).parent / "hostile"
FILES = sorted(path for path in HOSTILE.glob("*/*") if path.is_file())


def plant(store: CorrectionStore, data: bytes) -> Path:
    """Put these bytes where the state of libx264 lies."""
    path = store.path("libx264")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("hostile", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.parametrize("act", ["load", "record"])
def test_a_file_that_cannot_be_used_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hostile: Path, act: str
) -> None:
    """Whether read or recorded into: the bytes are kept under a new name, a warning says so, the start is cold."""
    store = CorrectionStore("v1", tmp_path)
    path = plant(store, hostile.read_bytes())
    with caplog.at_level(logging.WARNING):
        if act == "load":
            assert store.load("libx264").captures == 0
        else:
            assert store.record("libx264", encodes(1)[0])[0].captures == 1
    assert path.with_name(f"state.json.{hostile.parent.name}-1").read_bytes() == hostile.read_bytes()
    assert len(caplog.messages) == 1
    assert "learning starts afresh" in caplog.text
    assert path.exists() == (act == "record")


def test_what_was_set_aside_is_never_written_over(tmp_path: Path) -> None:
    """Each corrupt file gets a name of its own, also where names in between are taken or free."""
    store = CorrectionStore("v1", tmp_path)
    for content in (b"one", b"two", b"three"):
        path = plant(store, content)
        store.load("libx264")
    path.with_name("state.json.corrupt-2").unlink()
    plant(store, b"four")
    store.load("libx264")
    kept = {p.name: p.read_bytes() for p in path.parent.glob("*.corrupt-*")}
    expected = {"state.json.corrupt-1": b"one", "state.json.corrupt-2": b"four", "state.json.corrupt-3": b"three"}
    assert kept == expected


def test_a_truncated_state_is_corrupt_wherever_it_was_cut(tmp_path: Path) -> None:
    """No prefix of a state file passes for a state."""
    store = CorrectionStore("v1", tmp_path)
    for capture in encodes(3):
        store.record("libx264", capture)
    data = store.path("libx264").read_bytes()
    cuts = range(0, len(data), 37)
    for cut in cuts:
        plant(store, data[:cut])
        assert store.load("libx264").captures == 0
    assert len(list(store.path("libx264").parent.glob("state.json.corrupt-*"))) == len(cuts)


def test_other_settings_start_afresh(tmp_path: Path) -> None:
    """A fit learned with other settings is set aside and not mixed with the new one."""
    CorrectionStore("v1", tmp_path).record("libx264", encodes(1)[0])
    other = CorrectionStore("v1", tmp_path, Settings(forgetting=0.99))
    assert other.load("libx264").captures == 0
    assert other.path("libx264").with_name("state.json.outdated-1").exists()


def test_a_state_of_another_version_in_the_wrong_place_is_not_used(tmp_path: Path) -> None:
    """A copied directory does not carry a correction over to another predictor version."""
    old, new = CorrectionStore("v1", tmp_path), CorrectionStore("v2", tmp_path)
    old.record("libx264", encodes(1)[0])
    plant(new, old.path("libx264").read_bytes())
    assert new.load("libx264").captures == 0


def test_what_killed_writers_left_behind_does_not_pile_up(tmp_path: Path) -> None:
    """Half-written temporary files are not read, and are gone after the next write; other files stay."""
    store = CorrectionStore("v1", tmp_path)
    path = plant(store, b"")
    path.unlink()
    for name in (".state.json.1.tmp", ".state.json.2.tmp", ".another.json.1.tmp"):
        path.with_name(name).write_bytes(b'{"half')
    store.record("libx264", encodes(1)[0])
    assert store.load("libx264").captures == 1
    assert {each.name for each in path.parent.iterdir()} == {".another.json.1.tmp", "state.json", "state.json.lock"}


def test_a_refused_capture_writes_nothing(tmp_path: Path) -> None:
    """Other features than those learned from are named in the error, and the state keeps its bytes."""
    store = CorrectionStore("v1", tmp_path)
    store.record("libx264", encodes(1)[0])
    before = store.path("libx264").read_bytes()
    with store.changing("libx264") as correction, pytest.raises(CorrectionError, match="bitrate, i_bytes, fps are"):
        correction.apply(type(encodes(1)[0])({"bitrate": 1.0}, 20, 90, 91))
    assert store.path("libx264").read_bytes() == before


def test_codecs_learn_apart(tmp_path: Path) -> None:
    """What x264 taught is not added to a prediction for x265."""
    store = CorrectionStore("v1", tmp_path)
    store.record("libx264", encodes(1)[0])
    assert store.load("libx265").captures == 0


def test_the_history_is_bounded_and_the_fit_is_not(tmp_path: Path) -> None:
    """500 outcomes are kept, the newest; the fit has learned from all 700."""
    store = CorrectionStore("v1", tmp_path)
    captures = encodes(700, noise=1.0)
    with store.changing("libx264") as correction:
        for capture in captures:
            correction.record(capture)
    read = store.load("libx264")
    assert read.captures == 700
    assert [outcome.observed for outcome in read.history] == [capture.observed for capture in captures[-500:]]
    assert rms(outcome.observed - outcome.corrected for outcome in read.history) < 1.2


def test_any_changed_bit_is_noticed(tmp_path: Path) -> None:
    """A state with one bit changed anywhere, a digit of a number included, is not used."""
    store = CorrectionStore("v1", tmp_path)
    for capture in encodes(8, noise=2.0):
        store.record("libx264", capture)
    data = store.path("libx264").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        with pytest.raises((CorruptState, OutdatedState)):
            decode(bytes(damaged), "v1", store.settings)
