"""A store over plain objects: content under `blobs/sha256/`, names under `tags/`, as one small JSON object each."""

from __future__ import annotations

from typing import Protocol

import msgspec

from pipeline.artifacts.artifact import MANIFEST_TYPE
from pipeline.artifacts.faults import Moved
from pipeline.artifacts.reference import DIGEST, TAG
from pipeline.artifacts.store import Pointer

_TAG_LIMIT = 4096


class Objects(Protocol):
    """Objects by key. Every call may raise RegistryFault."""

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Return at most `limit` bytes of an object and what this state of it is known by; None where there is none."""
        ...

    def write(self, key: str, data: bytes, token: str | None) -> bool:
        """Replace the object that `token` stands for, None for no object; return whether that was so."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix/`, without it."""
        ...


class _Tag(msgspec.Struct, frozen=True, rename="camel"):
    """An OCI descriptor of the manifest that a name leads to."""

    digest: str
    media_type: str = MANIFEST_TYPE


class ObjectStore:
    """`Store` over objects."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, digest: str, data: bytes, *, is_manifest: bool = False) -> None:
        """Store content; what is there already stays, unless it is broken."""
        del is_manifest
        key = _blob(digest)
        if not self._objects.write(key, data, None):
            found = self._objects.read(key, len(data) + 1)
            if found is not None and found[0] != data:  # a write that was cut off
                self._objects.write(key, data, found[1])

    def get(self, digest: str, limit: int, *, is_manifest: bool = False) -> bytes | None:
        """Return content."""
        del is_manifest
        found = self._objects.read(_blob(digest), limit)
        return found[0] if found else None

    def pointer(self, name: str) -> Pointer | None:
        """Return where a name leads."""
        found = self._objects.read(_tag(name), _TAG_LIMIT)
        if found is None:
            return None
        try:
            digest = msgspec.json.decode(found[0], type=_Tag).digest
        except (msgspec.DecodeError, UnicodeDecodeError):
            digest = ""
        return Pointer(digest if DIGEST.fullmatch(digest) else "", found[1])

    def point(self, name: str, digest: str, seen: Pointer | None) -> None:
        """Lead a name to a manifest by compare and swap."""
        data = msgspec.json.encode(_Tag(digest)) + b"\n"
        if not self._objects.write(_tag(name), data, seen.token if seen else None):
            raise Moved(name)

    def names(self) -> list[str]:
        """Return all names."""
        keys = self._objects.keys("tags")
        names = (key.removesuffix(".json") for key in keys if key.endswith(".json"))
        return sorted(name for name in names if TAG.fullmatch(name))


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _tag(name: str) -> str:
    return f"tags/{name}.json"
