"""What gets into the pool's ring: messages in, rows out. Knows nothing of connections.

numpy works on the rows of many messages at once. Nothing that a sender says of itself counts: node and tenant are
those that the server let it speak for, and a row's key is made here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.fleet.message import Refused, rows_of, unpack
from pipeline.ingest.dedup import Deduplicator, SampleKeys
from pipeline.ingest.forgotten import Tombstones
from pipeline.ingest.names import Owners
from pipeline.intake.received import Received
from pipeline.runtime.messages import Sender, StreamPosition
from pipeline.shm.ring import Ring
from pipeline.shm.rows import HELD_OUT, RowBatch

_SAVED_S = 120.0
"""A sender's quota that was not used is kept for so many seconds: twice what a sidecar keeps."""
_LEAST = 512.0
_ANOTHER_NODE = 0x9E3779B97F4A7C15
"""An odd number of 64 bits: keys of the same sample from two nodes differ, so that neither can keep the other's out."""


class Admission:
    """Puts the rows of messages into `ring`, each once, and counts in `position` what has become of them."""

    def __init__(
        self,
        ring: Ring,
        resends: Deduplicator,
        owners: Owners,
        position: StreamPosition,
        *,
        tenant: str,
        target: str,
        quota: float,
        tombstones: Tombstones | None = None,
    ) -> None:
        self._ring, self._resends, self._owners, self._position = ring, resends, owners, position
        self._tenant, self._target, self._quota = tenant, target, quota
        self._tombstones = tombstones or Tombstones()
        self._keys = SampleKeys(1 + ring.n_features)
        self._left: dict[str, tuple[float, float]] = {}
        self.resent = self.forgotten = 0
        self.rejected: dict[str, int] = {}

    def admit(self, messages: Sequence[Received], base: str) -> RowBatch:
        """Take messages of senders whose base model has this digest; return the rows that are new, now in the ring."""
        parts = [rows for message in messages if (rows := self._taken(message, base)) is not None]
        if messages:
            self._position.read = messages[-1].sequence
        if not parts:
            return RowBatch(0, self._ring.n_features)
        rows = self._without_forgotten(
            RowBatch.over(np.concatenate([part.words for part in parts]), self._ring.n_features)
        )
        new = self._resends.admit(rows.key.tolist())
        if new is not None:
            self.resent += new.count(False)
            rows = rows.select(np.array(new, np.bool_))
        self._ring.extend(rows)
        return rows

    def _without_forgotten(self, rows: RowBatch) -> RowBatch:
        """Leave out what `forget` has removed; a sidecar's time of arrival is as near as it was captured."""
        covered = self._tombstones.covered(rows, lambda place: float(rows.arrival[place]))
        if covered is None:
            return rows
        self.forgotten += int(covered.sum())
        return rows.select(~covered)

    def _taken(self, message: Received, base: str) -> RowBatch | None:
        sender = self._position.senders.setdefault(message.node, Sender())
        sender.at = message.at
        try:
            sent = unpack(message.data)
            if sent.base != base:
                raise Refused("other_base", f"of base model {sent.base[:12]}, this pool trains {base[:12]}")
            if sent.target != self._target:
                raise Refused("other_target", f"scores of {sent.target}, this pool learns {self._target}")
            rows = rows_of(sent, self._ring.n_features)
        except Refused as refused:
            self._refuse(sender, refused.reason, 1)
            return None
        if 0 < sender.sent < sent.sent:
            sender.lost += sent.sent - sender.sent
        sender.sent = max(sender.sent, sent.sent + len(rows))
        usable = _usable(rows)
        if not usable.all():
            self._refuse(sender, "not_a_sample", int((~usable).sum()))
            rows = rows.select(usable)
        rows = self._within_quota(message, sender, rows)
        self._say_whose(message.node, rows)
        sender.taken += len(rows)
        return rows

    def _within_quota(self, message: Received, sender: Sender, rows: RowBatch) -> RowBatch:
        """Leave out what is too much. Time is the stream's: what waited there for long is not too much for that."""
        most = max(_LEAST, self._quota * _SAVED_S)
        left, at = self._left.get(message.node, (most, message.at))
        left = min(most, left + self._quota * max(0.0, message.at - at))
        kept = rows.first(min(len(rows), int(left)))
        sender.over_quota += len(rows) - len(kept)
        self._left[message.node] = left - len(kept), max(at, message.at)
        return kept

    def _say_whose(self, node: str, rows: RowBatch) -> None:
        of_node, of_tenant = self._owners.cells([(node, self._tenant, None, None)])[0, :2]
        rows.node[:], rows.tenant[:] = of_node, of_tenant
        rows.flags[:] &= np.uint32(HELD_OUT)
        np.minimum(rows.arrival, time.time(), out=rows.arrival)
        keys = self._keys.keys(rows.content, rows.job)
        keys += np.uint64(int(of_node) * _ANOTHER_NODE % 2**64)
        rows.key[:] = keys

    def _refuse(self, sender: Sender, reason: str, count: int) -> None:
        sender.refused += count
        self.rejected[reason] = self.rejected.get(reason, 0) + count


def _usable(rows: RowBatch) -> NDArray[np.bool_]:
    """Tell which rows are samples at all: finite features, a score on the scale, a time, bool[n]."""
    usable: NDArray[np.bool_] = np.isfinite(rows.features).all(1) & (rows.score >= 0) & (rows.score <= 100)
    return usable & np.isfinite(rows.arrival)
