"""A base model that a reference names: fetched once, verified, and kept in a cache, which is enough from then on.

The cache is a registry in a directory like any other, and holds signatures, too; beside it lie the files, for who reads
a model by its path.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts.artifact import Artifact
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.objects import ObjectStore
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.share import Share
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import copy, pull, resolve
from pipeline.runtime.durable import replace_link, write_durably

CACHE = "registry"
"""The cache's name in the state directory."""


RUN_NOTE = "base-model"
"""The file in the run's directory that holds what a tag means for as long as the sidecar runs."""


class Fetched(NamedTuple):
    """Where the model lies, what names it, and why the registry could not be asked; empty where it was, or need not."""

    path: Path
    digest: str
    note: str


def fetch(reference: Reference, cache: Path, trust: Trust | None = None, pinned: str = "") -> Fetched:
    """Return the model that a reference means now, or the digest `pinned`, fetched if it is not in the cache.

    Where the registry cannot be asked, what the tag meant the last time counts. Raises RegistryFault where that is not
    known or the model cannot be had, OSError where the cache cannot be written.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept, note = _kept(cache), ""
    digest = reference.digest or pinned
    if not digest:
        try:
            digest = resolve(open_store(reference), reference)
        except RegistryFault as fault:
            known = kept.pointer(_name(reference))
            if known is None or not known.digest:
                raise
            digest, note = known.digest, str(fault)
    artifact = _cached(kept, digest, trust)
    if artifact is None:
        artifact = copy(open_store(reference), kept, digest, trust)
    path = _written(cache, digest, artifact)
    _link(place(reference, cache), path)
    seen = kept.pointer(_name(reference))
    if seen is None or seen.digest != digest:
        kept.point(_name(reference), digest, seen)
    return Fetched(path, digest, note)


def place(reference: Reference, cache: Path) -> Path:
    """Return a path that leads to the model which was fetched last, with its `.json` beside it, once there is one."""
    return cache / f"{_name(reference)}.onnx"


def newer(reference: Reference, cache: Path) -> str:
    """Return what a tag leads to now if that is not what is in use; empty where it is, or cannot be known."""
    with suppress(RegistryFault):
        if reference.tag and not reference.digest and cache.is_dir():
            known = _kept(cache).pointer(_name(reference))
            digest = resolve(open_store(reference), reference)
            return digest if known is not None and known.digest != digest else ""
    return ""


def _kept(cache: Path) -> ObjectStore:
    return ObjectStore(Share(Reference("file", str(cache))))


def _name(reference: Reference) -> str:
    """Return the name under which the cache knows what a reference led to."""
    return f"base-{hashlib.sha256(str(reference).encode()).hexdigest()[:16]}"


def _cached(kept: Store, digest: str, trust: Trust | None) -> Artifact | None:
    try:
        return pull(kept, digest, trust)
    except RegistryFault as fault:
        if fault.kind == "unsigned" or fault.kind in {"lost", "garbage"}:  # perhaps it is signed by now
            return None
        raise


def _link(place: Path, model: Path) -> None:
    for link, file in ((place, model), (place.with_suffix(".json"), model.with_suffix(".json"))):
        if file.is_file():
            replace_link(link, str(file.relative_to(link.parent)))
        else:
            link.unlink(missing_ok=True)


def _written(cache: Path, digest: str, artifact: Artifact) -> Path:
    """Write the files of a model out, where they are not; return the model's path."""
    name, _ = artifact.check()
    directory = cache / "models" / digest.removeprefix("sha256:")[:16]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each, data in artifact.files.items():
        path = directory / each
        if not path.is_file() or path.read_bytes() != data:
            write_durably(path, data)
    return directory / name
