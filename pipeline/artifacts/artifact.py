"""`Artifact`: a model with what belongs to it, as one OCI artifact.

https://github.com/opencontainers/image-spec/blob/v1.1.0/manifest.md. The manifest lists each file with its digest, so
that the manifest's own digest names all of it. The same files always make the same bytes. Object stores hold the same
manifests and files, each under its digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

import msgspec

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import DIGEST

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MODEL_TYPE = "application/vnd.vmafx.model.v1"
WITHDRAWN_TYPE = "application/vnd.vmafx.withdrawn.v1"
SIGNATURE_TYPE = "application/vnd.vmafx.signature.v1"
OURS = frozenset({MODEL_TYPE, WITHDRAWN_TYPE, SIGNATURE_TYPE})

MANIFEST_LIMIT = 1 << 20
FILE_LIMIT = 128 << 20
"""The largest manifest and the largest file that are fetched, in bytes."""

TITLE, CREATED, VERSION = (f"org.opencontainers.image.{name}" for name in ("title", "created", "version"))
MODEL_SHA256, BASE_SHA256, WITHDRAWN, ATTEMPT = (
    f"dev.vmafx.{name}" for name in ("model.sha256", "base.sha256", "withdrawn", "attempt")
)

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_MEDIA_TYPES = {
    ".onnx": "application/vnd.vmafx.model.onnx",
    ".sha256": "text/plain",
    ".json": "application/vnd.vmafx.checkpoint.v1+json",
    ".md": "text/markdown",
}
_MODELS = (".onnx", ".pt", ".pth")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One file, as a manifest lists it."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """An OCI image manifest, as far as it matters here."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    artifact_type: str = ""
    annotations: dict[str, str] = {}

    @property
    def files(self) -> dict[str, Descriptor]:
        """The files by name."""
        return {layer.annotations.get(TITLE, ""): layer for layer in self.layers}


def digest_of(data: bytes) -> str:
    """Return the digest as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Artifact:
    """Files by name, and what is said of them."""

    files: Mapping[str, bytes]
    annotations: Mapping[str, str]
    kind: str = MODEL_TYPE

    def blobs(self) -> list[bytes]:
        """Return what the manifest leads to."""
        return [*self.files.values(), _EMPTY]

    def manifest(self) -> bytes:
        """Return the manifest's bytes."""
        layers = tuple(
            Descriptor(_media_type(name), digest_of(data), len(data), {TITLE: name})
            for name, data in self.files.items()
        )
        made = Manifest(
            config=Descriptor(_EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY)),
            layers=layers or (Descriptor(_EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY)),),
            artifact_type=self.kind,
            annotations=dict(sorted(self.annotations.items())),
        )
        return msgspec.json.encode(made)

    @property
    def digest(self) -> str:
        """What names it."""
        return digest_of(self.manifest())

    def check(self) -> tuple[str, bytes]:
        """Return the model's name and content. Raises RegistryFault where there is none, or it has another digest."""
        name = next((name for name in self.files if PurePath(name).suffix in _MODELS), None)
        if name is None:
            raise RegistryFault("garbage", f"{self.digest}: there is no model in it")
        said = self.files.get(f"{name}.sha256")
        if said is not None and said.strip() != hashlib.sha256(self.files[name]).hexdigest().encode():
            raise RegistryFault("garbage", f"{self.digest}: {name} has another digest than {name}.sha256 says")
        return name, self.files[name]


def withdrawn(digest: str) -> Artifact:
    """Return what a pointer leads to where there is no model; `digest`: of one that must not come back, or empty."""
    return Artifact({}, {WITHDRAWN: digest}, WITHDRAWN_TYPE)


def read_manifest(data: bytes, where: str) -> Manifest:
    """Parse a manifest of ours. Raises RegistryFault."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RegistryFault("garbage", f"{where}: not a manifest: {error}") from None
    if manifest.artifact_type not in OURS:
        kind = manifest.artifact_type or manifest.config.media_type
        raise RegistryFault("garbage", f"{where}: holds {kind[:80]!r}, expected {MODEL_TYPE}")
    for name, layer in manifest.files.items():
        unnamed = manifest.artifact_type == WITHDRAWN_TYPE and not name
        if not (unnamed or _NAME.fullmatch(name)) or not DIGEST.fullmatch(layer.digest) or layer.size > FILE_LIMIT:
            raise RegistryFault("garbage", f"{where}: holds a file {name[:80]!r} that cannot be taken")
    return manifest


def _media_type(name: str) -> str:
    return _MEDIA_TYPES.get(PurePath(name).suffix, "application/octet-stream")
