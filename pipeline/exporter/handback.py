"""Hands the weights of the last stable checkpoint back to the trainer, which returns to them when its own go bad."""

from __future__ import annotations

from pipeline import handoff, regions
from pipeline.config import Settings
from pipeline.exporter.checkpoint import Checkpoint
from pipeline.exporter.names import file_of
from pipeline.handoff import StableWeights
from pipeline.model.graph import parse_base_model


class Handback:
    """The only writer of the region `stable`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.version = 0

    def follow(self, stable: Checkpoint | None) -> None:
        """Hand `stable` back, where it is another than before. Raises OSError or UnusableModel."""
        if stable is None or stable.version == self.version:
            return
        path = file_of(self._settings.checkpoint_dir, stable.version)
        weights = parse_base_model(path.read_bytes(), path.name).vector().tobytes()
        handed = StableWeights(checkpoint=stable.version, base_digest=stable.base_sha256, weights=weights)
        payload = handoff.encode(handed)
        mailbox, _ = regions.own_mailbox(self._settings, "stable", len(weights) + 1024)
        mailbox.publish(payload)
        self.version = stable.version
