"""The registry: what it accepts, what it keeps, and what verification finds."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.registry import registry
from pipeline.registry.registry import Entry, RegistryError
from pipeline.runtime.durable import write_durably


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Entry]:
    """Make a file in the directory and the entry that fits it."""

    def make(name: str) -> Entry:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(name.encode())
        return Entry(id=name, onnx=path.name, sha256=registry.digest_of(path), opset=17)

    return make


def test_added_entries_are_read_back_in_order(tmp_path: Path, model: Callable[[str], Entry]) -> None:
    """What was added is what is loaded, in the order of adding, and it verifies."""
    entries = tuple(model(name) for name in ("b", "a", "c"))
    for entry in entries:
        registry.add(tmp_path, entry)
    assert registry.load(tmp_path).models == entries
    assert registry.verify(tmp_path) == []


def test_file_has_the_fields_of_the_contract(tmp_path: Path, model: Callable[[str], Entry]) -> None:
    """The JSON carries schema_version 1 and exactly the promised fields."""
    registry.add(tmp_path, model("a"))
    document = json.loads((tmp_path / "registry.json").read_text())
    assert document["schema_version"] == 1
    assert set(document["models"][0]) == {"id", "kind", "onnx", "sha256", "opset", "notes"}


def test_adding_again_is_harmless_but_a_conflict_is_refused(tmp_path: Path, model: Callable[[str], Entry]) -> None:
    """A writer that was killed after adding may add again; another model under the id may not."""
    entry = model("a")
    registry.add(tmp_path, entry)
    registry.add(tmp_path, entry)
    assert registry.load(tmp_path).models == (entry,)
    other = Entry(id="a", onnx="a.onnx", sha256="0" * 64, opset=17)
    with pytest.raises(RegistryError, match="a is already registered"):
        registry.add(tmp_path, other)


def test_discard_removes_only_the_named(tmp_path: Path, model: Callable[[str], Entry]) -> None:
    """Removal leaves the other entries and ignores unknown ids."""
    kept = model("kept")
    registry.add(tmp_path, model("gone"))
    registry.add(tmp_path, kept)
    registry.discard(tmp_path, {"gone", "never-there"})
    assert registry.load(tmp_path).models == (kept,)


def test_fields_of_others_survive(tmp_path: Path, model: Callable[[str], Entry]) -> None:
    """A registry with further fields keeps them when an entry is added."""
    registry.add(tmp_path, model("a"))
    path = tmp_path / "registry.json"
    document = json.loads(path.read_text())
    document["models"][0]["license"] = "BSD"
    document["$schema"] = "x"
    path.write_text(json.dumps(document))
    registry.add(tmp_path, model("b"))
    written = json.loads(path.read_text())
    assert written["models"][0]["license"] == "BSD"
    assert written["$schema"] == "x"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"other"), "has digest"),
        (lambda path: path.unlink(), "is missing"),
        (
            lambda path: Path(f"{path}.sha256").write_text("0" * 64 + "\n"),
            "differs from the registered digest",
        ),
    ],
)
def test_verify_names_what_is_wrong(
    tmp_path: Path, model: Callable[[str], Entry], damage: Callable[[Path], object], reason: str
) -> None:
    """A changed, missing or contradicted file is found, and only that one."""
    registry.add(tmp_path, model("good"))
    registry.add(tmp_path, model("bad"))
    damage(tmp_path / "bad.onnx")
    (fault,) = registry.verify(tmp_path)
    assert fault.id == "bad"
    assert reason in fault.reason


def test_verify_refuses_a_path_out_of_the_directory(tmp_path: Path) -> None:
    """A registry cannot vouch for files that are not beside it."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "out.onnx").write_bytes(b"x")
    entry = Entry(id="out", onnx="../out.onnx", sha256=registry.digest_of(tmp_path / "out.onnx"), opset=17)
    registry.add(inside, entry)
    assert "outside" in registry.verify(inside)[0].reason


HOSTILE = Path(__file__).parent / "hostile"


@pytest.mark.parametrize("path", sorted(HOSTILE.iterdir()), ids=lambda path: path.stem)
def test_hostile_registries_are_refused_with_the_file_named(tmp_path: Path, path: Path) -> None:
    """Whatever stands in the file, the answer is one RegistryError that names it."""
    (tmp_path / "registry.json").write_bytes(path.read_bytes())
    with pytest.raises(RegistryError, match=r"registry\.json: "):
        registry.load(tmp_path)


def test_write_leaves_no_trace_when_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old content and no temporary file."""
    target = tmp_path / "file"
    write_durably(target, b"old")

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
