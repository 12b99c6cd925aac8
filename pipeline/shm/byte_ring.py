"""A ring of bytes: the newest records of lines, first in first out, written by one process and read by any.

A record is its header and whole lines; `count` says how many of them count. Positions are bytes since the beginning.
The writer stores `oldest`, the first record that it is not about to write over, then writes, then stores `head`. A
reader copies, and then rejects the copy if `oldest` has passed its beginning: nobody makes the writer wait. Where the
processor may reorder stores (aarch64), records carry a checksum too.

A record is `prepare`d before the rows of its lines are put into the ring of samples, and `commit`ted after that. A
writer that dies in between leaves a record of which the next one keeps what the ring of samples has: a line is here
if and only if its row is there.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from pipeline.shm.atomics import CACHE_LINE, STORES_IN_ORDER, AtomicInt64
from pipeline.shm.segment import Layout

KIND = "lines"
_CONTROL_BYTES = 4 * CACHE_LINE
_HEADER = struct.Struct("<IIqqqdqq")
_CHECKSUM_OFFSET, _COUNT_OFFSET = 4, 8
_U32 = struct.Struct("<I")


class Origin(NamedTuple):
    """What all lines of a record have in common.

    `ring` and `first` are the ring of samples and the sequence of the first line; `arrival` is in Unix seconds; `step`
    and `stable` are the train step and the version of the stable checkpoint, 0 for none, when they arrived.
    """

    ring: int
    first: int
    arrival: float
    step: int
    stable: int


class Record(NamedTuple):
    """Some lines, without newlines, and where the record after this one begins."""

    origin: Origin
    lines: list[bytes]
    end: int


class Lapped(Exception):
    """The writer has written over what was asked for: go on from `ByteRing.oldest`."""


class ByteRing:
    """The newest `capacity` bytes of records over a writable `buffer` made for `ByteRing.layout(capacity)`."""

    RECORD_BYTES = _HEADER.size + 8
    """What a record takes besides its lines, at most."""

    def __init__(self, buffer: memoryview, capacity: int) -> None:
        self.capacity = capacity
        self._head = AtomicInt64(buffer, 0)
        self._oldest = AtomicInt64(buffer, CACHE_LINE)
        self._prepared, self._sealing = (AtomicInt64(buffer, 2 * CACHE_LINE + 8 * i) for i in range(2))
        self._identity = AtomicInt64(buffer, 3 * CACHE_LINE)
        self._bytes = buffer[_CONTROL_BYTES : _CONTROL_BYTES + capacity]

    @staticmethod
    def layout(capacity: int) -> Layout:
        """Return the layout of a segment that holds such a ring; `capacity` is a multiple of eight bytes."""
        return Layout(KIND, (capacity,), _CONTROL_BYTES + capacity)

    @classmethod
    def private(cls, capacity: int, *, sealing: bool = not STORES_IN_ORDER) -> ByteRing:
        """Return an empty ring in this process's own memory, open for writing."""
        ring = cls(memoryview(bytearray(cls.layout(capacity).size)), capacity)
        ring.open_writer(sealing=sealing)
        return ring

    @property
    def head(self) -> int:
        """Where the next record will begin."""
        return self._head.load()

    @property
    def oldest(self) -> int:
        """Where the oldest record begins that is still there."""
        return self._oldest.load()

    @property
    def identity(self) -> int:
        """Which ring this is, a random number: positions mean something within one ring only; 0 before its writer."""
        return self._identity.load()

    # The writer.

    def open_writer(self, *, sealing: bool = not STORES_IN_ORDER) -> None:
        """Become the writer: go on behind the newest record."""
        self._sealing.store(int(sealing))
        if not self.identity:
            self._identity.store(secrets.randbits(62) + 1)

    def recover(self, ring: int, head: int) -> None:
        """Keep of a record that a dead writer had prepared those lines that are in `ring` of samples, below `head`."""
        position, prepared = self._head.load(), self._prepared.load()
        if prepared > position:
            header = _HEADER.unpack(self._copy(position, _HEADER.size))
            count, origin = header[2], Origin(*header[3:])
            kept = min(count, head - origin.first) if origin.ring == ring else 0
            if kept > 0:
                self._count(position).store(kept)
                if self._sealing.load():
                    self._seal(position, prepared)
                self._head.store(prepared)
        self._prepared.store(self._head.load())

    def room_for(self, size: int) -> bool:
        """Whether lines of `size` bytes fit into a record."""
        return _size(size) <= self.capacity // 2

    def prepare(self, origin: Origin, count: int, lines: bytes) -> None:
        """Write `count` lines, joined by newlines, behind the newest record; nobody sees them before `commit`."""
        position = self._head.load()
        end = position + _size(len(lines))
        self._make_room(end)
        self._write(position, _HEADER.pack(len(lines), 0, count, *origin))
        self._write(position + _HEADER.size, lines)
        if self._sealing.load():
            self._seal(position, end)
        self._prepared.store(end)

    def commit(self) -> None:
        """Let the prepared record be seen."""
        self._head.store(self._prepared.load())

    def blank(self, chosen: Callable[[bytes, Origin], bool]) -> int:
        """Put spaces in the place of lines that `chosen` says yes to, and zeros where no record is; return how many."""
        count, position = 0, self.oldest
        while records := self.read(position, 1):
            (record,) = records
            size = sum(map(len, record.lines)) + len(record.lines) - 1
            found = [chosen(line, record.origin) for line in record.lines]
            lines = [b" " * len(line) if gone else line for line, gone in zip(record.lines, found, strict=True)]
            self._write(position + _HEADER.size, b"\n".join(lines))
            self._write(position + _HEADER.size + size, bytes(record.end - position - _HEADER.size - size))
            if self._sealing.load():
                self._seal(position, record.end)
            count, position = count + sum(found), record.end
        self._write(position, bytes(self.capacity - (position - self.oldest)))
        self._prepared.store(self._head.load())
        return count

    def _make_room(self, end: int) -> None:
        oldest = before = self._oldest.load()
        while oldest < end - self.capacity:
            oldest += _size(_U32.unpack(self._copy(oldest, _U32.size))[0])
        if oldest != before:
            self._oldest.store(oldest)

    def _count(self, position: int) -> AtomicInt64:
        return AtomicInt64(self._bytes, (position + _COUNT_OFFSET) % self.capacity)

    def _seal(self, position: int, end: int) -> None:
        self._write(position + _CHECKSUM_OFFSET, bytes(_U32.size))
        checksum = zlib.crc32(self._copy(position, end - position))
        self._write(position + _CHECKSUM_OFFSET, _U32.pack(checksum))

    # Readers.

    def read(self, position: int, limit: int) -> list[Record]:
        """Copy records from `position` on, at most some `limit` bytes of them, but one at least; none at the head.

        Raises Lapped where the writer has written over the first of them.
        """
        end = min(self._head.load(), position + limit)
        if end - position < _HEADER.size:
            end = min(self._head.load(), position + _HEADER.size)
        data = self._copied(position, end)
        if len(data) < _HEADER.size:
            return []
        first = _size(_U32.unpack_from(data)[0])
        if first > len(data):
            data = self._copied(position, min(self._head.load(), position + first))
        return self._parse(position, data)

    def _copied(self, position: int, end: int) -> bytes:
        if position < self._oldest.load():
            raise Lapped
        data = self._copy(position, end - position)
        if position < self._oldest.load():
            raise Lapped
        return data

    def _parse(self, position: int, data: bytes) -> list[Record]:
        records: list[Record] = []
        start = 0
        while start + _HEADER.size <= len(data):
            length, checksum, count, *origin = _HEADER.unpack_from(data, start)
            end = start + _size(length)
            if end > len(data) or (self._sealing.load() and not _sealed(data[start:end], checksum)):
                break
            lines = data[start + _HEADER.size : start + _HEADER.size + length]
            records.append(Record(Origin(*origin), lines.split(b"\n")[:count], position + end))
            start = end
        return records

    # Bytes at a position, which may lie in two pieces.

    def _write(self, position: int, data: bytes) -> None:
        start = position % self.capacity
        until_end = min(len(data), self.capacity - start)
        if until_end == len(data):
            self._bytes[start : start + until_end] = data
            return
        self._bytes[start:] = data[:until_end]
        self._bytes[: len(data) - until_end] = data[until_end:]

    def _copy(self, position: int, size: int) -> bytes:
        size = max(0, min(size, self.capacity))
        start = position % self.capacity
        until_end = min(size, self.capacity - start)
        return bytes(self._bytes[start : start + until_end]) + bytes(self._bytes[: size - until_end])


def _size(length: int) -> int:
    """Return the size of a record whose lines have `length` bytes; a multiple of eight, so that counts are aligned."""
    return _HEADER.size + -(-length // 8) * 8


def _sealed(record: bytes, checksum: int) -> bool:
    blank = record[:_CHECKSUM_OFFSET] + bytes(_U32.size) + record[_COUNT_OFFSET:]
    return zlib.crc32(blank) == checksum
