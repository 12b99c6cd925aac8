"""Copies of accepted lines for the archive: in a ring of bytes beside the ring of samples, and as they came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress

from pipeline.shm.byte_ring import ByteRing, Origin
from pipeline.shm.ring import Ring
from pipeline.shm.rows import RowBatch

_NEWS = 16
"""So many times a round of the ring of bytes its reader is told of news; otherwise it looks by itself."""


class Copies:
    """Puts samples into `ring` and their lines into `lines`, so that a line is there if and only if its row is.

    `moment()` gives the train step and the version of the stable checkpoint; `on_news` is called now and then.
    """

    def __init__(
        self, lines: ByteRing, ring: Ring, moment: Callable[[], tuple[int, int]], on_news: Callable[[], None]
    ) -> None:
        self._lines, self._ring = lines, ring
        self._moment, self._on_news = moment, on_news
        lines.recover(ring.identity, ring.head)

    def extend(self, rows: RowBatch, blocks: list[bytes], are_new: list[bool] | None) -> None:
        """Store `rows`; `blocks` are the lines that they were made of, and of others that `are_new` says no to."""
        text = b"\n".join(blocks)
        if are_new is not None:
            text = b"\n".join(compress(text.split(b"\n"), are_new))
        before = self._lines.head
        for piece, lines in self._pieces(rows, text):
            origin = Origin(self._ring.identity, self._ring.head, float(piece.arrival[0]), *self._moment())
            self._lines.prepare(origin, len(piece), lines)
            self._ring.extend(piece)
            self._lines.commit()
        stride = self._lines.capacity // _NEWS
        if before // stride != self._lines.head // stride:
            self._on_news()

    def _pieces(self, rows: RowBatch, text: bytes) -> Iterator[tuple[RowBatch, bytes]]:
        """Yield rows and their lines in pieces that fit into a record."""
        if not len(rows):
            return
        if self._lines.room_for(len(text)) or len(rows) == 1:
            yield rows, text
            return
        lines, half = text.split(b"\n"), len(rows) // 2
        yield from self._pieces(rows.between(0, half), b"\n".join(lines[:half]))
        yield from self._pieces(rows.between(half, len(rows)), b"\n".join(lines[half:]))
