"""A model from elsewhere, to be judged before it is used: files in the state directory, a slot for each writer.

The exporter reads it there, and removes it when it has judged it. A writer may put a newer one in its place meanwhile:
so each change is made under a lock, and only the offer that was judged is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipeline.artifacts.artifact import BASE_SHA256, MODEL_TYPE
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import Store
from pipeline.artifacts.transfer import manifest_of, pull
from pipeline.runtime.durable import open_regular, write_durably
from pipeline.runtime.locks import taken

OUTCOMES = ("taken", "refused", "unfit")
"""taken: published as stable; refused: by the gate; unfit: another base model or graph, not whole, or too late."""

_LIMIT = 1 << 16
_PATIENCE_S = 5.0


class Slot(Enum):
    """What the files of an offer begin with, by who writes them."""

    FIRST = "offer"
    """The publisher: what the registry has for a sidecar that begins with an empty directory."""
    FLEET = "offer-fleet"
    """The uplink: the newest model of the fleet's pool."""

    def model(self, directory: Path) -> Path:
        """Return where the model is."""
        return directory / f"{self.value}.onnx"

    def about(self, directory: Path) -> Path:
        """Return where it says what the model is."""
        return directory / f"{self.value}.json"


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


def write(directory: Path, offer: Offer, slot: Slot = Slot.FIRST) -> None:
    """Write an offer in the place of any other of its slot, what it says of itself last. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _changing(directory, slot):
        slot.about(directory).unlink(missing_ok=True)
        write_durably(slot.model(directory), offer.onnx, mode=0o600)
        write_durably(slot.about(directory), msgspec.json.encode(offer.about), mode=0o600)


def read(directory: Path, slot: Slot = Slot.FIRST) -> Offer | None:
    """Return the offer; None where there is none.

    Raises OSError, and RegistryFault where it is not whole; it is removed then.
    """
    if not is_there(directory, slot):
        return None
    with _changing(directory, slot):
        try:
            return _read(directory, slot)
        except RegistryFault:
            _remove(directory, slot)
            raise


def is_there(directory: Path, slot: Slot = Slot.FIRST) -> bool:
    """Whether there is an offer that has not been judged."""
    return slot.about(directory).exists()


def remove(directory: Path, about: About, slot: Slot = Slot.FIRST) -> None:
    """Remove the offer if it still is this one. Raises OSError."""
    if not is_there(directory, slot):
        return
    with _changing(directory, slot):
        if _about(directory, slot) == about:
            _remove(directory, slot)


def withdraw(directory: Path, slot: Slot) -> bool:
    """Remove what has been offered and not judged, as its writer; return whether there was anything. Raises OSError."""
    if not is_there(directory, slot):
        return False
    with _changing(directory, slot):
        _remove(directory, slot)
    return True


@contextmanager
def _changing(directory: Path, slot: Slot) -> Iterator[None]:
    with taken(directory / f".{slot.value}.lock", _PATIENCE_S):
        yield


def _about(directory: Path, slot: Slot) -> About | None:
    path = slot.about(directory)
    try:
        with open_regular(path) as file:
            return msgspec.json.decode(file.read(_LIMIT), type=About)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryFault("garbage", f"{path}: {error}") from None


def _read(directory: Path, slot: Slot) -> Offer | None:
    about = _about(directory, slot)
    if about is None:
        return None
    path = slot.model(directory)
    try:
        with open_regular(path) as file:
            onnx = file.read()
    except FileNotFoundError:
        onnx = b""
    if hashlib.sha256(onnx).hexdigest() != about.sha256:
        raise RegistryFault("garbage", f"{path}: not the model that {slot.about(directory).name} is of")
    return Offer(about, onnx)


def _remove(directory: Path, slot: Slot) -> None:
    for path in (slot.about(directory), slot.model(directory)):
        path.unlink(missing_ok=True)
