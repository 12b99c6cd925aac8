"""What gets into the pool's ring: messages in, rows out. Knows nothing of connections.

numpy works on the rows of many messages at once. Nothing that a sender says of itself counts: node and tenant are
those that the server let it speak for, and a row's key is made here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.fleet.message import Refused, unpack, words_of
from pipeline.ingest.dedup import SampleKeys
from pipeline.ingest.forgotten import Tombstones
from pipeline.ingest.names import Owners
from pipeline.intake.received import Received
from pipeline.intake.seen import SeenKeys
from pipeline.runtime.messages import Sender, StreamPosition
from pipeline.shm.ring import Ring
from pipeline.shm.rows import HELD_OUT, RowBatch

_SAVED_S = 120.0
"""A sender's quota that was not used is kept for so many seconds: twice what a sidecar keeps."""
_LEAST = 512.0
_ANOTHER_NODE = np.uint64(0x9E3779B97F4A7C15)
"""An odd number: keys of the same sample from two nodes differ, so that neither can keep the other's out."""


class Admission:
    """Puts the rows of messages into `ring`, each once, and counts in `position` what has become of them."""

    def __init__(
        self,
        ring: Ring,
        seen: SeenKeys,
        owners: Owners,
        position: StreamPosition,
        *,
        tenant: str,
        target: str,
        quota: float,
        tombstones: Tombstones | None = None,
    ) -> None:
        self._ring, self._seen, self._owners, self._position = ring, seen, owners, position
        self._tenant, self._target, self._quota = tenant, target, quota
        self._tombstones = tombstones or Tombstones()
        self._keys = SampleKeys(1 + ring.n_features)
        self._left: dict[str, tuple[float, float]] = {}
        self.resent = self.forgotten = 0
        self.rejected: dict[str, int] = {}

    def admit(self, messages: Sequence[Received], base: str) -> RowBatch:
        """Take messages of senders whose base model has this digest; return the rows that are new, now in the ring."""
        parts = [(message, words) for message in messages if (words := self._read(message, base)) is not None]
        if messages:
            self._position.read = messages[-1].sequence
        if not parts:
            return RowBatch(0, self._ring.n_features)
        sizes = [(message, len(words)) for message, words in parts]
        rows = RowBatch.over(np.concatenate([words for _, words in parts]), self._ring.n_features)
        wanted = self._wanted(sizes, _usable(rows))
        self._say_whose(sizes, rows)
        rows = self._without_forgotten(rows if wanted.all() else rows.select(wanted))
        new = self._seen.admit(rows.key)
        if not new.all():
            self.resent += len(new) - int(new.sum())
            rows = rows.select(new)
        self._ring.extend(rows)
        return rows

    def _without_forgotten(self, rows: RowBatch) -> RowBatch:
        """Leave out what `forget` has removed; a sidecar's time of arrival is as near as it was captured."""
        covered = self._tombstones.covered(rows, lambda place: float(rows.arrival[place]))
        if covered is None:
            return rows
        self.forgotten += int(covered.sum())
        return rows.select(~covered)

    def _read(self, message: Received, base: str) -> NDArray[np.float32] | None:
        """Return the rows of a message, float32[n, row_words]; None where it is of no use here, which is counted."""
        sender = self._position.senders.setdefault(message.node, Sender())
        since, sender.at = sender.at, message.at
        try:
            sent = unpack(message.data)
            if sent.base != base:
                raise Refused("other_base", f"of base model {sent.base[:12]}, this pool trains {base[:12]}")
            if sent.target != self._target:
                raise Refused("other_target", f"scores of {sent.target}, this pool learns {self._target}")
            words = words_of(sent, self._ring.n_features)
        except Refused as refused:
            self._refuse(sender, refused.reason, 1)
            return None
        if 0 < sender.sent < sent.sent:
            sender.lost += min(sent.sent - sender.sent, self._most(message.at - since))
        sender.sent = max(sender.sent, sent.sent + len(words))
        return words

    def _wanted(self, sizes: Sequence[tuple[Received, int]], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which rows of all messages are samples, and not more than their senders may send, bool[n]."""
        all_usable, start = bool(usable.all()), 0
        for message, size in sizes:
            sender, places = self._position.senders[message.node], slice(start, start + size)
            start = places.stop
            good = size if all_usable else int(usable[places].sum())
            if good < size:
                self._refuse(sender, "not_a_sample", size - good)
            kept = self._within_quota(message, good)
            if kept < good:
                sender.over_quota += good - kept
                usable[places][np.flatnonzero(usable[places])[kept:]] = False
            sender.taken += kept
        return usable

    def _within_quota(self, message: Received, count: int) -> int:
        """Return how many are not too much, by the time of the stream: to have waited there is no fault."""
        most = self._most(0)
        left, at = self._left.get(message.node, (most, message.at))
        left = min(most, left + self._quota * max(0.0, message.at - at))
        kept = min(count, int(left))
        self._left[message.node] = left - kept, message.at  # earlier than `at` where the server's clock was set back
        return kept

    def _most(self, seconds: float) -> int:
        """Return how many samples a sender may send within a time: beyond it is not believed that they were sent."""
        return int(max(_LEAST, self._quota * _SAVED_S) + self._quota * max(0.0, seconds))

    def _say_whose(self, sizes: Sequence[tuple[Received, int]], rows: RowBatch) -> None:
        """Write into the rows of these messages, so many of each, what is known of them here."""
        cells = self._owners.cells([(message.node, self._tenant, None, None) for message, _ in sizes])
        counts = [size for _, size in sizes]
        rows.node[:], rows.tenant[:] = np.repeat(cells[:, 0], counts), np.repeat(cells[:, 1], counts)
        rows.flags[:] &= np.uint32(HELD_OUT)
        np.minimum(rows.arrival, time.time(), out=rows.arrival)
        rows.key[:] = self._keys.keys(rows.content, rows.job) + rows.node * _ANOTHER_NODE

    def _refuse(self, sender: Sender, reason: str, count: int) -> None:
        sender.refused += count
        self.rejected[reason] = self.rejected.get(reason, 0) + count


def _usable(rows: RowBatch) -> NDArray[np.bool_]:
    """Tell which rows are samples at all: finite features, a score on the scale, a time, bool[n]."""
    usable: NDArray[np.bool_] = (rows.score >= 0) & (rows.score <= 100) & np.isfinite(rows.arrival)
    finite = np.isfinite(rows.features)
    return usable if finite.all() else usable & finite.all(1)
