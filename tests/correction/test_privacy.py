"""What is kept of an encode, and what is not."""

import getpass
import json
import platform
import socket
import uuid
from pathlib import Path

import pytest

from pipeline.correction import CorrectionStore
from pipeline.correction.host import host_id
from tests.correction.encodes import encodes

SECRETS = {"source": "/home/me/holiday.mkv", "sha256": "5e884898da28", "url": "rtmp://10.1.2.3/live", "argv": "-i"}


def test_the_state_holds_numbers_and_the_names_of_features_only(tmp_path: Path) -> None:
    """These are all the keys and all the strings of a state file: the list that the documentation gives."""
    store = CorrectionStore("v1", tmp_path)
    store.record("libx264", encodes(1)[0])
    file = json.loads(store.path("libx264").read_bytes())
    assert file.keys() == {"schema_version", "predictor_version", "crc32", "state"}
    state = file["state"]
    assert state.keys() == {"settings", "features", "fit", "history"}
    assert state["fit"].keys() == {"captures", "weight", "origin", "low", "high", "mean", "scatter"}
    assert state["history"][0].keys() == {"predicted", "correction", "corrected", "observed"}
    assert strings(file) == {"v1", "bitrate", "i_bytes", "fps"}


def test_fields_beyond_the_capture_are_not_stored(tmp_path: Path) -> None:
    """A caller that sends more than a capture, paths and addresses included, finds none of it on disk."""
    store = CorrectionStore("v1", tmp_path)
    capture = {"features": [0.1, 0.2], "crf": 28, "predicted": 90.0, "observed": 91.0}
    store.record_lines("libx264", [json.dumps({**capture, **SECRETS}).encode()])
    assert store.load("libx264").captures == 1
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not [value for value in SECRETS.values() if value.encode() in written]


def test_a_feature_name_cannot_carry_a_path(tmp_path: Path) -> None:
    """The names of features are stored, so they are held to short plain words."""
    store = CorrectionStore("v1", tmp_path)
    line = b'{"features": {"/home/me/holiday.mkv": 1}, "crf": 28, "predicted": 90, "observed": 91}'
    assert "is not a name" in store.record_lines("libx264", [line])[1].refused[0].reason
    assert not store.path("libx264").exists()


def test_the_host_id_comes_from_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine, user, host name and address give another id in another place; none of them is in it."""
    monkeypatch.setattr(socket, "gethostname", lambda: "same-host")
    ids = {host_id(tmp_path / str(i)) for i in range(20)}
    assert len(ids) == 20
    machine = {f"{uuid.getnode():x}", platform.node().encode().hex(), getpass.getuser().encode().hex()}
    assert not [known for known in machine for made in ids if known and known in made]


def test_everything_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask lets through."""
    store = CorrectionStore("v1", tmp_path / "cache")
    store.record("libx264", encodes(1)[0])
    host_id(store.cache_dir)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "cache").rglob("*")}
    assert modes == {0}


def test_a_spoilt_host_id_is_set_aside(tmp_path: Path) -> None:
    """A file that holds no id is kept under another name and a new id made."""
    (tmp_path / "host-uuid").write_text("not an id\n")
    assert host_id(tmp_path) == host_id(tmp_path)
    assert (tmp_path / "host-uuid.corrupt-1").read_text() == "not an id\n"


def strings(value: object) -> set[str]:
    """Every string among the values of a JSON document."""
    if isinstance(value, dict):
        return set().union(*map(strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()
