"""Publishes the last stable checkpoint's weights for the trainer, which returns to them when its own become bad."""

from __future__ import annotations

from contextlib import suppress

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.names import file_of
from pipeline.config import Settings
from pipeline.model.graph import parse_base_model
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import StableWeights
from pipeline.shm.segment import SegmentAbsent, SegmentMismatch, SharedMemoryUnusable

# Maximum bytes of a message besides the weights.
_ENVELOPE = 1024


class StablePublisher:
    """The only writer of the region `stable`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._version: int | None = None
        self._has_room = False
        self.problem = ""

    def follow(self, stable: Checkpoint | None) -> None:
        """Publish `stable`, or that there is none, if it has changed. Raises OSError or UnusableModel.

        If shared memory is full, `problem` says so, and the next call tries again: nothing else waits for it.
        """
        version = stable.version if stable else 0
        try:
            self._make_room()
            if version != self._version:
                self._withdraw() if stable is None else self._hand(stable)
                self._version = version
            self.problem = ""
        except SharedMemoryUnusable as error:
            self.problem = f"stable weights: {error}"

    def _make_room(self) -> None:
        """Make the region as soon as the base model says how large it must be: later memory may be full."""
        with suppress(SegmentAbsent, SegmentMismatch):
            if not self._has_room:
                model, _ = regions.attach_mailbox(self._settings, "model")
                regions.own_mailbox(self._settings, "stable", model.capacity, spare=_ENVELOPE)
                self._has_room = True

    def _hand(self, stable: Checkpoint) -> None:
        path = file_of(self._settings.checkpoint_dir, stable.version)
        weights = parse_base_model(path.read_bytes(), path.name).vector().tobytes()
        handed = StableWeights(checkpoint=stable.version, base_digest=stable.base_sha256, weights=weights)
        payload = messages.encode(handed)
        mailbox, _ = regions.own_mailbox(self._settings, "stable", len(payload))
        mailbox.publish(payload)

    def _withdraw(self) -> None:
        """Publish that there is no stable checkpoint any more, if the region exists."""
        with suppress(SegmentAbsent, SegmentMismatch):
            mailbox, _ = regions.attach_mailbox(self._settings, "stable")
            mailbox.publish(messages.encode(StableWeights(checkpoint=0, base_digest="", weights=b"")))
