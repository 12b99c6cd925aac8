"""The regions that the exporter reads: attached when they are there, left when their owner replaces them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from pipeline.config import Settings
from pipeline.model.errors import UnusableModel
from pipeline.model.graph import BaseModel, parse_base_model
from pipeline.runtime import messages, regions
from pipeline.runtime.messages import Names, ServedModel, TrainerSnapshot, lineage_of
from pipeline.runtime.saved_state import SavedRows
from pipeline.shm.mailbox import Mailbox
from pipeline.shm.reservoir import Reservoir
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch
from pipeline.shm.segment import Segment, SegmentError

T = TypeVar("T")


class Source(Generic[T]):
    """One region as `attach` opens it."""

    def __init__(self, attach: Callable[[], tuple[T, Segment]]) -> None:
        self._attach = attach
        self._attached: tuple[T, Segment] | None = None

    def get(self) -> T | None:
        """Return the region as it is now; None while there is none that fits."""
        if self._attached is None or not self._attached[1].is_current():
            try:
                self._attached = self._attach()
            except SegmentError:
                self._attached = None
        return self._attached[0] if self._attached else None


class Sources:
    """What the exporter reads out of shared memory. Each call copies; None means that it is not there yet."""

    def __init__(self, settings: Settings) -> None:
        self._n_features = settings.n_features
        self._ring: Source[Ring] = Source(lambda: regions.attach_ring(settings))
        self._reservoirs: dict[str, Source[Reservoir]] = {
            "reservoir": Source(lambda: regions.attach_reservoir(settings, "reservoir", settings.reservoir_capacity)),
            "holdout": Source(lambda: regions.attach_reservoir(settings, "holdout", settings.holdout_capacity)),
        }
        self._weights: Source[Mailbox] = Source(lambda: regions.attach_mailbox(settings, "weights"))
        self._model: Source[Mailbox] = Source(lambda: regions.attach_mailbox(settings, "model"))
        self._names: Source[Mailbox] = Source(lambda: regions.attach_mailbox(settings, "names"))
        self._stream: Source[Mailbox] = Source(lambda: regions.attach_mailbox(settings, "stream"))
        self._base: BaseModel | None = None

    def marks(self) -> tuple[int, int]:
        """Return the ring's head and the version of the trainer's snapshot: equal marks, equal content."""
        ring, weights = self._ring.get(), self._weights.get()
        return ring.head if ring else 0, weights.version if weights else 0

    def ring(self) -> tuple[SavedRows, int] | None:
        """Copy the ring's whole rows, and its head; return them with its identity."""
        ring = self._ring.get()
        if ring is None:
            return None
        batch, head = ring.snapshot()
        return SavedRows(batch.words, head), ring.identity

    def reservoir(self, name: str, base_digest: str) -> SavedRows | None:
        """Copy the whole rows of `reservoir` or `holdout`, and the number of groups it has seen.

        None also where they are not of the training of that base model.
        """
        reservoir, lineage = self._reservoirs[name].get(), lineage_of(base_digest)
        if reservoir is None or reservoir.lineage != lineage:
            return None
        rows = SavedRows(reservoir.snapshot().words, reservoir.groups_seen)
        return rows if reservoir.lineage == lineage else None  # else they were replaced meanwhile

    def holdout(self, base_digest: str) -> RowBatch | None:
        """Copy the rows that the training of a base model holds out."""
        rows = self.reservoir("holdout", base_digest)
        return None if rows is None else RowBatch.over(rows.words, self._n_features)

    def snapshot(self) -> tuple[TrainerSnapshot, bytes] | None:
        """Copy the trainer's newest snapshot, decoded and as it lies there."""
        payload = _payload(self._weights.get())
        try:
            return None if payload is None else (messages.decode_snapshot(payload), payload)
        except msgspec.MsgspecError:  # of another release of this program
            return None

    def names(self) -> bytes:
        """Copy what ingest knows of the names behind hashes: messages.Names, encoded; empty while there are none."""
        return _payload(self._names.get()) or b""

    def stream(self) -> bytes:
        """Copy how far a pool has read the stream: messages.StreamPosition, encoded; empty where there is no pool."""
        return _payload(self._stream.get()) or b""

    def known_names(self) -> Names:
        """Return the same, decoded."""
        try:
            return messages.decode_names(self.names())
        except msgspec.MsgspecError:  # there are none, or they are of another release of this program
            return Names()

    def base_model(self) -> BaseModel | None:
        """Return the base model that the trainer serves."""
        payload = _payload(self._model.get())
        try:
            served = None if payload is None else messages.decode_model(payload)
            if served is not None and (self._base is None or self._base.digest != served.digest):
                self._base = _parse(served)
        except (msgspec.MsgspecError, UnusableModel):
            return None
        return self._base


def _payload(box: Mailbox | None) -> bytes | None:
    return None if box is None else box.payload()


def _parse(served: ServedModel) -> BaseModel:
    return parse_base_model(served.onnx, served.name)
