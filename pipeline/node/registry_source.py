"""Checkpoints from a registry, for a node that does not share a directory with a sidecar."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path, PurePath

from pipeline.artifacts.artifact import MODEL_TYPE
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Trust
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import manifest_of, pull
from pipeline.node.log import log
from pipeline.node.policy import LATEST_STABLE, Policy

_UNUSABLE = {"unsigned", "garbage", "local"}


class RegistrySource:
    """`Source` over a registry: what `latest-stable` leads to, or one digest for ever.

    A model is fetched once, verified, and kept in a directory of its own for as long as this object lives.
    """

    def __init__(self, url: str, policy: Policy, public_key: Path | None) -> None:
        self._reference = Reference.parse(url)
        if self._reference.names_a_model or not (policy.kind == LATEST_STABLE or policy.digest):
            raise ValueError("expected a registry without a tag, and latest-stable or pinned:sha256:DIGEST")
        self._pinned = policy.digest
        self._public_key = public_key
        self._directory = tempfile.TemporaryDirectory(prefix="vmafx-models-")
        self._fetched: dict[str, Path] = {}
        self._store: Store | None = None
        self._refused = ""

    def candidates(self) -> list[Path]:
        """Return the model that the policy means; none where it was withdrawn, or there never was one."""
        try:
            return self._look()
        except RegistryFault as fault:
            if fault.kind in _UNUSABLE and str(fault) != self._refused:
                self._refused = str(fault)
                log.warning("checkpoint_refused", checkpoint=str(self._reference), reason=str(fault))
            raise OSError(0, str(fault)) from None

    def withheld(self) -> None:
        """Return nothing: only stable checkpoints are in a registry."""

    def close(self) -> None:
        """Remove what was fetched: a model in use is in memory."""
        self._directory.cleanup()

    def _look(self) -> list[Path]:
        if self._store is None:
            self._store = open_store(self._reference)
        pointer = None if self._pinned else self._store.pointer(LATEST_STABLE)
        digest = self._pinned or (pointer.digest if pointer else "")
        if pointer is not None and not digest:
            raise RegistryFault("garbage", f"{self._reference}: {LATEST_STABLE} is no pointer")
        if not digest:
            return []
        if digest not in self._fetched:
            if manifest_of(self._store, digest).artifact_type != MODEL_TYPE:
                return []
            self._fetched = {digest: self._fetch(self._store, digest)}
        return [self._fetched[digest]]

    def _fetch(self, store: Store, digest: str) -> Path:
        name, onnx = pull(store, digest, Trust.of(self._public_key)).check()
        path = Path(self._directory.name) / f"{PurePath(name).stem}-{digest[7:19]}.onnx"
        path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(onnx).hexdigest()}\n")
        path.write_bytes(onnx)
        return path
