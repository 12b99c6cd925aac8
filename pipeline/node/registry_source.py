"""Checkpoints from a registry, for a node that does not share a directory with a sidecar."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath

from pipeline.artifacts.artifact import BASE_SHA256, MODEL_TYPE, Manifest
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.published import older, version_of
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import manifest_of, pull
from pipeline.node.log import log
from pipeline.node.policy import LATEST_STABLE, Policy

_UNUSABLE = {"unsigned", "garbage", "local"}
_BROKEN = {"unsigned", "garbage", "lost"}
"""Kinds of faults of one artifact: another one may be whole."""
_TRIES = 8
_KEPT = _TRIES + 2
"""How many older versions are tried, and how many models are kept: none of a look is fetched again at the next."""


class RegistrySource:
    """`Source` over a registry: what `latest-stable` leads to and older versions after it, or one digest for ever.

    A model is fetched once and verified; the last few are kept in a directory of their own for as long as this object
    lives.
    """

    def __init__(self, url: str, policy: Policy, public_key: Path | None) -> None:
        self._reference = Reference.parse(url)
        if self._reference.names_a_model or not (policy.kind == LATEST_STABLE or policy.digest):
            raise ValueError("expected a registry without a tag, and latest-stable or pinned:sha256:DIGEST")
        self._pinned = policy.digest
        self._public_key = public_key
        self._directory = tempfile.TemporaryDirectory(prefix="vmafx-models-")
        self._fetched: dict[str, Path] = {}
        self._opened: Store | None = None
        self._refused = ""

    def candidates(self) -> Iterator[Path]:
        """Give the model that the policy means, and where that is of no use older ones; none where it was withdrawn."""
        try:
            yield from self._look()
        except RegistryFault as fault:
            self._say(fault)
            raise OSError(0, str(fault)) from None

    def withheld(self) -> None:
        """Return nothing: only stable checkpoints are in a registry."""

    def close(self) -> None:
        """Remove what was fetched: a model in use is in memory."""
        self._directory.cleanup()

    @property
    def _store(self) -> Store:
        if self._opened is None:
            self._opened = open_store(self._reference)
        return self._opened

    def _look(self) -> Iterator[Path]:
        if self._pinned:
            yield self._model(self._pinned)
            return
        pointer = self._store.pointer(LATEST_STABLE)
        digest, newest, broken = pointer.digest if pointer else "", None, None
        if not digest and self._fetched:
            raise RegistryFault("lost", f"{self._reference}: {LATEST_STABLE} leads nowhere")  # perhaps it is moved now
        try:
            newest = self._described(digest)
            if newest.artifact_type != MODEL_TYPE:
                return  # it was withdrawn, and there is none before it
            yield self._model(digest)
        except RegistryFault as fault:
            if fault.kind not in _BROKEN:
                raise
            broken = fault
            self._say(fault)
        found = False
        for path in self._older(digest, newest):
            found = True
            yield path
        if broken and not found:
            raise broken

    def _described(self, digest: str) -> Manifest:
        if not digest:
            raise RegistryFault("lost", f"{self._reference}: {LATEST_STABLE} leads nowhere")
        return manifest_of(self._store, digest)

    def _older(self, than: str, newest: Manifest | None) -> Iterator[Path]:
        """Give the older versions that are whole and were not withdrawn, of the base model of the newest."""
        base = newest.annotations.get(BASE_SHA256) if newest else None
        for name in older(self._store.names(), version_of(newest) if newest else 0)[:_TRIES]:
            try:
                pointer = self._store.pointer(name)
                if pointer is None or pointer.digest in {"", than}:
                    continue
                of = manifest_of(self._store, pointer.digest).annotations.get(BASE_SHA256)
                base = base or of
                if of == base:
                    yield self._model(pointer.digest)
            except RegistryFault as fault:
                if fault.kind not in _BROKEN:
                    raise

    def _say(self, fault: RegistryFault) -> None:
        if fault.kind in _UNUSABLE and str(fault) != self._refused:
            self._refused = str(fault)
            log.warning("checkpoint_refused", checkpoint=str(self._reference), reason=str(fault))

    def _model(self, digest: str) -> Path:
        """Return a verified model's file, fetched where it is not kept."""
        path = self._fetched.pop(digest, None) or self._fetch(digest)
        self._fetched[digest] = path
        for unused in list(self._fetched)[:-_KEPT]:
            stale = self._fetched.pop(unused)
            stale.unlink()
            stale.with_name(f"{stale.name}.sha256").unlink()
        return path

    def _fetch(self, digest: str) -> Path:
        name, onnx = pull(self._store, digest, Trust.of(self._public_key)).check()
        path = Path(self._directory.name) / f"{PurePath(name).stem}-{digest[7:19]}.onnx"
        path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(onnx).hexdigest()}\n")
        path.write_bytes(onnx)
        return path
