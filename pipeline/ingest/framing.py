"""From a stream of bytes to whole lines, in memory bounded by the longest line that is allowed."""

from __future__ import annotations

from typing import Final

BOM = b"\xef\xbb\xbf"


class TooLong:
    """Stands for a line that was longer than allowed and has been discarded."""


TOO_LONG: Final = TooLong()
Block = bytes | TooLong


class Framer:
    """Splits what one connection sends. A line over `limit` bytes is dropped as it arrives, not kept."""

    __slots__ = ("_discarding", "_limit", "_tail")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._discarding = False

    def feed(self, chunk: bytes) -> list[Block]:
        """Take in the next bytes; return what is complete, in order.

        An element is a block of whole lines joined by newlines, without the last one's newline; or TOO_LONG.
        """
        end = chunk.rfind(b"\n")
        if end < 0:
            self._keep(chunk)
            return []
        start = 0
        found: list[Block] = []
        if self._discarding:
            start = chunk.index(b"\n") + 1
            self._discarding = False
            found.append(TOO_LONG)
        if start <= end:
            found += self._within_limit(self._joined(chunk, start, end))
        if end + 1 < len(chunk):
            self._keep(chunk[end + 1 :])
        return found

    def _joined(self, chunk: bytes, start: int, end: int) -> bytes:
        if not self._tail:
            return chunk[start:end]
        block = b"".join((self._tail, memoryview(chunk)[start:end]))
        self._tail.clear()
        return block

    def _keep(self, piece: bytes) -> None:
        if self._discarding:
            return
        self._tail += piece
        if len(self._tail) > self._limit:
            self._tail.clear()
            self._discarding = True

    def _within_limit(self, block: bytes) -> list[Block]:
        if len(block) <= self._limit:
            return [block]
        return [line if len(line) <= self._limit else TOO_LONG for line in block.split(b"\n")]
