"""A pool as its fleet sees it: a registry on a share, and what is said of it over a real NATS server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pipeline import config
from pipeline.artifacts.artifact import BASE_SHA256, CREATED, MODEL_SHA256, withdrawn
from pipeline.artifacts.published import of_checkpoint, version_of
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.signature import Signer
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import manifest_of, push
from pipeline.checkpoints.checkpoint import Verdict
from pipeline.checkpoints.publish import publish
from pipeline.fleet import models, stream
from pipeline.fleet.link import Link
from pipeline.fleet.models import Announcement
from pipeline.model.graph import BaseModel
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


class Pool:
    """Publishes models of `base` into a directory and a registry below `place`, and announces them."""

    def __init__(self, place: Path, server: NatsServer, base: BaseModel, sign_key: Path | None = None) -> None:
        self.models, self.share, self.base = place / "pool-models", place / "share", base
        for directory in (self.models, self.share):
            directory.mkdir()
        self.settings = config.load({"VMAFX_FLEET_URL": server.url, "VMAFX_POOL": "pool"})
        self._signer = Signer(sign_key) if sign_key else None
        self.store = open_store(Reference.parse(self.share.as_uri()))
        self.link = Link(self.settings, "pool")

    def __enter__(self) -> Self:
        eventually(lambda: self.link.is_up)
        self.link.begin(lambda client: stream.ensure(client, self.settings)).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.link.close()

    def push(self, weights: npt.NDArray[np.float32], base: BaseModel | None = None) -> str:
        """Publish weights as a stable version, in the registry too; return the digest."""
        of = base or self.base
        made = publish(
            self.models,
            of.with_weights(weights),
            Verdict("stable", "Because."),
            step=10,
            samples=100,
            created=datetime.now(UTC).isoformat(),
            base=(of.name, of.digest),
        )
        digest = push(self.store, of_checkpoint(self.models, made.version), "", self._signer)
        self.store.point(LATEST_STABLE, digest, self.store.pointer(LATEST_STABLE))
        return digest

    def withdraw(self) -> None:
        """Lead the registry's pointer to nothing."""
        self.store.point(LATEST_STABLE, push(self.store, withdrawn("")), self.store.pointer(LATEST_STABLE))

    def announce(self, **others: str) -> Announcement:
        """Say what the pointer leads to; `others`: what is said instead of what is so."""
        pointer = self.store.pointer(LATEST_STABLE)
        assert pointer is not None
        manifest = manifest_of(self.store, pointer.digest)
        there = manifest.annotations
        has_model = MODEL_SHA256 in there
        said: dict[str, str] = {
            "digest": pointer.digest if has_model else "",
            "sha256": there.get(MODEL_SHA256, ""),
            "base_sha256": there.get(BASE_SHA256, self.base.digest),
            "created": there.get(CREATED, ""),
            "pool": "pool",
            "registry": "file:///nobody/has/to/believe/this",
        }
        mine = Announcement(version=version_of(manifest), **(said | others))
        assert models.announce(self.link, self.settings, mine.base_sha256, lambda: mine) == mine
        return mine

    def tamper(self, digest: str) -> None:
        """Change a byte of the model that an artifact leads to, in the registry's files."""
        layer = next(each for name, each in manifest_of(self.store, digest).files.items() if name.endswith(".onnx"))
        path = next(path for path in self.share.rglob("*") if path.name == layer.digest.removeprefix("sha256:"))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
