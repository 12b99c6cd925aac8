"""What a registry has for a sidecar that begins with an empty directory: a model to be judged before it is used.

The publisher writes it into the state directory, the exporter reads it there, and removes it when it has judged it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.artifacts.artifact import BASE_SHA256, MODEL_TYPE
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import Store
from pipeline.artifacts.transfer import manifest_of, pull
from pipeline.runtime.durable import open_regular, write_durably

MODEL, ABOUT = "offer.onnx", "offer.json"
_LIMIT = 1 << 16


class About(msgspec.Struct, frozen=True):
    """Where the model comes from, and of which base model it is."""

    registry: str
    digest: str
    sha256: str
    base_sha256: str


class Offer(NamedTuple):
    """A model, and what is known of it."""

    about: About
    onnx: bytes


def fetch(store: Store, registry: str, digest: str, trust: Trust | None) -> Offer | None:
    """Return the model that `digest` names; None where there is none to offer. Raises RegistryFault."""
    manifest = manifest_of(store, digest)
    if manifest.artifact_type != MODEL_TYPE or BASE_SHA256 not in manifest.annotations:
        return None
    _, onnx = pull(store, digest, trust).check()
    sha256 = hashlib.sha256(onnx).hexdigest()
    return Offer(About(registry, digest, sha256, manifest.annotations[BASE_SHA256]), onnx)


def write(directory: Path, offer: Offer) -> None:
    """Write an offer, what it says of itself last. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(directory / MODEL, offer.onnx, mode=0o600)
    write_durably(directory / ABOUT, msgspec.json.encode(offer.about), mode=0o600)


def read(directory: Path) -> Offer | None:
    """Return the offer; None where there is none. Raises RegistryFault where it is not whole, OSError."""
    try:
        with open_regular(directory / ABOUT) as file:
            about = msgspec.json.decode(file.read(_LIMIT), type=About)
        with open_regular(directory / MODEL) as file:
            onnx = file.read()
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryFault("garbage", f"{directory / ABOUT}: {error}") from None
    if hashlib.sha256(onnx).hexdigest() != about.sha256:
        raise RegistryFault("garbage", f"{directory / MODEL}: not the model that {ABOUT} is of")
    return Offer(about, onnx)


def is_there(directory: Path) -> bool:
    """Whether there is an offer that has not been judged."""
    return (directory / ABOUT).exists()


def remove(directory: Path) -> None:
    """Remove the offer. Raises OSError."""
    for name in (ABOUT, MODEL):
        (directory / name).unlink(missing_ok=True)
