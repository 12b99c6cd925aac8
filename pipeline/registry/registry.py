"""`registry.json`: which models a directory holds, and the digest each must have.

The fields are those of libvmaf's tiny-model registry, `schema_version` 1. Paths are relative to the
registry's own directory. Fields that this module does not know are kept as they are.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from pipeline.runtime.durable import write_durably

NAME = "registry.json"
NOTES_LIMIT = 512

Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*\Z", max_length=64)]
OnnxPath = Annotated[str, msgspec.Meta(pattern=r"^[^/\\][^\\]*\.onnx\Z", max_length=256)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class RegistryError(Exception):
    """A registry that cannot be used, or an entry that does not fit it; the message says which and why."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=False):
    """One model: an identifier, its file and the digest of that file."""

    id: Identifier
    onnx: OnnxPath
    sha256: Digest
    opset: Annotated[int, msgspec.Meta(ge=1)]
    kind: Literal["fr", "nr"] = "fr"
    notes: Annotated[str, msgspec.Meta(max_length=NOTES_LIMIT)] = ""


class Registry(msgspec.Struct, frozen=True):
    """The whole index, entries in the order in which they were added."""

    schema_version: Literal[1] = 1
    models: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Fault:
    """What is wrong with one registered model."""

    id: str
    reason: str


def digest_of(path: Path) -> str:
    """SHA-256 of the file at `path`, 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(directory: Path) -> Registry:
    """Read and validate the registry of `directory`; an absent file is an empty registry."""
    return _validated(_document(directory), directory)


def add(directory: Path, entry: Entry) -> None:
    """Add `entry`, durably. The same entry again changes nothing; another one of the same id is an error."""
    known = {model.id: model for model in load(directory).models}
    if entry.id in known and known[entry.id] != entry:
        raise RegistryError(f"{directory / NAME}: {entry.id} is already registered, with other content")
    if entry.id not in known:
        _rewrite(directory, lambda models: [*models, msgspec.to_builtins(entry)])


def discard(directory: Path, ids: set[str]) -> None:
    """Remove the entries with these ids, durably; ids that are not registered are ignored."""
    if any(model.id in ids for model in load(directory).models):
        _rewrite(directory, lambda models: [model for model in models if model["id"] not in ids])


def verify(directory: Path) -> list[Fault]:
    """Every registered model whose file is missing, outside `directory`, or not what was registered."""
    faults = ((entry.id, _fault(directory, entry)) for entry in load(directory).models)
    return [Fault(name, reason) for name, reason in faults if reason]


def _fault(directory: Path, entry: Entry) -> str | None:
    path = directory / entry.onnx
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(directory)):  # which links in circles pass
        return f"{entry.onnx} lies outside {directory}"
    if not path.is_file():
        return f"{entry.onnx} is missing"
    try:
        found, twin = digest_of(path), Path(f"{path}.sha256")
        said = twin.read_text(encoding="utf-8", errors="replace").strip() if twin.is_file() else entry.sha256
    except OSError as error:
        return f"{entry.onnx} cannot be read: {error.strerror}"
    if found != entry.sha256:
        return f"{entry.onnx} has digest {found}, expected {entry.sha256}"
    if said != entry.sha256:
        return f"{twin.name} differs from the registered digest {entry.sha256}"
    return None


def _document(directory: Path) -> dict[str, Any]:
    path = directory / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {"schema_version": 1, "models": []}
    except OSError as error:
        raise RegistryError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryError(f"{path}: {error}") from error


def _validated(document: dict[str, Any], directory: Path) -> Registry:
    try:
        registry = msgspec.convert(document, Registry)
    except msgspec.ValidationError as error:
        raise RegistryError(f"{directory / NAME}: {error}") from error
    ids = [model.id for model in registry.models]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise RegistryError(f"{directory / NAME}: registered more than once: {', '.join(twice)}")
    return registry


def _rewrite(directory: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    document = _document(directory)
    document["models"] = change(document.get("models", []))
    _validated(document, directory)
    encoded = msgspec.json.format(msgspec.json.encode(document), indent=2)
    write_durably(directory / NAME, encoded + b"\n")
