"""How the trainer's work gets out of its process: the base model once, then whole versions of the weights."""

from __future__ import annotations

import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.config import Settings
from pipeline.model.graph import BaseModel
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import ServedModel, TrainerSnapshot
from pipeline.runtime.regions import Opened
from pipeline.shm.mailbox import Mailbox, Torn
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import SegmentError
from pipeline.trainer.online import OnlineTraining

# Publishing takes at most about a fiftieth of the time, and happens at least this often while there is work.
_INTERVAL_S = 0.05
_SHARE = 0.02
_PROBE_ROWS = 8
# Room for what grows in a snapshot with the life of the training, in bytes: counters, and numbers written out.
_SPARE = 1 << 16


class SnapshotPublisher:
    """Publishes what `training` makes of `base`, as the only writer of the regions `model` and `weights`.

    `left` is what the life before published, of whichever base model; None where there is nothing whole.
    """

    def __init__(self, settings: Settings, base: BaseModel, training: OnlineTraining, ring: Ring) -> None:
        self._settings, self._base, self._training, self._ring = settings, base, training, ring
        self._probe: NDArray[np.float32] = np.zeros((0, settings.n_features), np.float32)
        self._published_at = 0.0
        self._interval = _INTERVAL_S
        self._step = -1
        self._cursor = -1
        self.left = _left_in_memory(settings)
        served = messages.encode(ServedModel(name=base.name, digest=base.digest, onnx=base.serialized))
        self._model, model = regions.own_mailbox(settings, "model", len(served))
        self._model.publish(served)
        self._weights, weights = self._own_weights()
        self.segments = (model.segment, weights.segment)

    def _own_weights(self) -> tuple[Mailbox, Opened]:
        """Open the weights region, with room for a snapshot at its fullest."""
        meta, vectors = self._training.state()
        size = sum(array.nbytes for array in vectors.values()) + 4 * self._base.n_parameters * 4
        probe = _PROBE_ROWS * (self._settings.n_features + 1) * 4
        needed = size + probe + len(msgspec.msgpack.encode(meta)) + _SPARE
        return regions.own_mailbox(self._settings, "weights", needed, spare=_SPARE)

    @property
    def base_digest(self) -> str:
        """Digest of the base model."""
        return self._base.digest

    def is_ours(self, snapshot: TrainerSnapshot) -> bool:
        """Whether `snapshot` was made from this base model."""
        return snapshot.base_digest == self._base.digest and snapshot.n_features == self._settings.n_features

    def adopt(self, snapshot: TrainerSnapshot, cursor: int, start: int) -> None:
        """Go on from `snapshot`, at `cursor`, with the ring's rows from `start` on."""
        self._training.restore(snapshot.meta | {"cursor": cursor, "start": start}, snapshot.arrays())
        self._probe = snapshot.probe_rows()[0].copy()

    @property
    def due(self) -> bool:
        """Whether the last publication is old enough for another."""
        return time.monotonic() - self._published_at >= self._interval

    @property
    def step(self) -> int:
        """Step of the last published version."""
        return self._step

    def publish(self, *, anew: bool = False) -> None:
        """Publish the current version, unless it has been: `anew` also then."""
        training = self._training
        if not anew and (training.total_steps, training.cursor) == (self._step, self._cursor):
            return
        began = time.monotonic()
        self._weights.publish(messages.encode(self._snapshot()))
        self._step, self._cursor = training.total_steps, training.cursor
        self._published_at = time.monotonic()
        self._interval = max(_INTERVAL_S, (self._published_at - began) / _SHARE)

    def _snapshot(self) -> TrainerSnapshot:
        training = self._training
        meta, vectors = training.state()
        export = training.export_vector()
        self._renew_probe()
        return TrainerSnapshot(
            step=training.total_steps,
            samples=training.cursor,
            base_digest=self._base.digest,
            n_features=self._settings.n_features,
            export=export.tobytes(),
            probe=self._probe.tobytes(),
            probe_scores=training.learner.predict(self._probe, export).tobytes() if len(self._probe) else b"",
            meta=meta,
            vectors=messages.pack_arrays(vectors),
            ring=self._ring.identity,
        )

    def _renew_probe(self) -> None:
        """Take the newest rows as probe: real inputs, on which the exporter checks that the file says the same."""
        batch = RowBatch(_PROBE_ROWS, self._settings.n_features)
        count = self._ring.read(max(self._ring.oldest, self._ring.head - _PROBE_ROWS), batch)
        if count:
            self._probe = np.ascontiguousarray(batch.features[:count])


def _left_in_memory(settings: Settings) -> TrainerSnapshot | None:
    try:
        letter = regions.attach_mailbox(settings, "weights")[0].read()
        return None if letter is None else messages.decode_snapshot(letter.payload)
    except (SegmentError, Torn, msgspec.MsgspecError):
        return None
