"""Bringing an artifact into a store, and back: whole, verified, and signed where that is asked for."""

from __future__ import annotations

from dataclasses import replace

from pipeline.artifacts.artifact import (
    ATTEMPT,
    FILE_LIMIT,
    MANIFEST_LIMIT,
    TITLE,
    Artifact,
    Manifest,
    digest_of,
    read_manifest,
)
from pipeline.artifacts.faults import Moved, RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Signer, Trust, name_of
from pipeline.artifacts.store import Store

_ATTEMPTS = 3


def push(store: Store, artifact: Artifact, name: str = "", signer: Signer | None = None) -> str:
    """Store an artifact, its signature, and a name that leads to it for ever; return its digest.

    What is there already is not stored again, so a push that was cut off is finished by another. Raises RegistryFault,
    also where what was stored does not come back as it was.
    """
    digest = _put_whole(store, artifact)
    if signer is not None:
        _name(store, name_of(digest), _put(store, signer.sign(digest)))
    if name:
        _name(store, name, digest)
    return digest


def pull(store: Store, digest: str, trust: Trust | None = None) -> Artifact:
    """Return an artifact, every byte of it verified, and its signature where keys are trusted. Raises RegistryFault."""
    manifest = manifest_of(store, digest)
    if trust is not None:
        trust.check(digest, _signature(store, digest))
    files = {
        name: _content(store, layer.digest, FILE_LIMIT)
        for name, layer in manifest.files.items()
        if name  # what has no name is the empty content of an artifact without files
    }
    return Artifact(files, manifest.annotations, manifest.artifact_type)


def copy(source: Store, target: Store, digest: str, trust: Trust | None = None) -> Artifact:
    """Bring an artifact and its signature from one store into another, verified; return it. Raises RegistryFault."""
    artifact = pull(source, digest, trust)
    signed = source.pointer(name_of(digest))
    if signed is not None and signed.digest:
        _name(target, name_of(digest), _put(target, pull(source, signed.digest)))
    _put(target, artifact)
    return artifact


def manifest_of(store: Store, digest: str) -> Manifest:
    """Return a manifest, verified. Raises RegistryFault."""
    return read_manifest(_content(store, digest, MANIFEST_LIMIT, is_manifest=True), digest)


def resolve(store: Store, reference: Reference) -> str:
    """Return the digest that a reference means now. Raises RegistryFault."""
    if reference.digest:
        return reference.digest
    pointer = store.pointer(reference.tag)
    if pointer is None:
        raise RegistryFault("lost", f"{reference}: there is no such tag")
    if not pointer.digest:
        raise RegistryFault("garbage", f"{reference}: what is stored there is no pointer")
    return pointer.digest


def _put_whole(store: Store, artifact: Artifact) -> str:
    """Store an artifact so that it comes back as it was.

    A registry whose disk was full, or that was killed, may keep half a manifest for ever, under the digest of the whole
    one. Then the same artifact gets another digest, by an annotation more.
    """
    for attempt in range(2, _ATTEMPTS + 2):
        digest = _put(store, artifact)
        try:
            pull(store, digest)
        except RegistryFault as fault:
            if fault.kind not in {"garbage", "lost", "down"} or attempt > _ATTEMPTS:
                raise
            artifact = replace(artifact, annotations={**artifact.annotations, ATTEMPT: str(attempt)})
        else:
            break
    return digest


def _put(store: Store, artifact: Artifact) -> str:
    for data in artifact.blobs():
        store.put(digest_of(data), data)
    manifest = artifact.manifest()
    digest = digest_of(manifest)
    store.put(digest, manifest, is_manifest=True)
    return digest


def _name(store: Store, name: str, digest: str) -> None:
    """Lead a name to an artifact, unless it leads somewhere already: such a name never moves."""
    seen = store.pointer(name)
    if seen is None or not seen.digest:
        try:
            store.point(name, digest, seen)
        except Moved:
            return  # another one that pushes the same


def _content(store: Store, digest: str, limit: int, *, is_manifest: bool = False) -> bytes:
    data = store.get(digest, limit, is_manifest=is_manifest)
    if data is None:
        raise RegistryFault("lost", f"{digest} is not there")
    if digest_of(data) != digest:
        raise RegistryFault("garbage", f"{digest}: its content has the digest {digest_of(data)}")
    return data


def _signature(store: Store, digest: str) -> bytes | None:
    pointer = store.pointer(name_of(digest))
    if pointer is None or not pointer.digest:
        return None
    layers = manifest_of(store, pointer.digest).layers
    return _content(store, layers[0].digest, MANIFEST_LIMIT) if layers and TITLE in layers[0].annotations else None
