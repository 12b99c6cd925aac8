"""A cell that holds the latest value of one writer: readers always copy one whole value, the writer never waits.

Values lie in three slots in turn, so a reader is disturbed only if the writer publishes three times during one copy; it
then tries again. Each value carries its version and a CRC-32, which also covers processors that reorder stores.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from numpy.typing import NDArray

from pipeline.shm.atomics import CACHE_LINE, AtomicInt64

SLOTS = 3
_SLOT_HEADER = 3 * 8
_ATTEMPTS = 1000


Part = bytes | NDArray[Any]  # arrays must be C-contiguous


class Torn(Exception):
    """No whole value could be copied: its writer died while writing, or publishes faster than a copy takes."""


class Versioned(NamedTuple):
    """A value with the version under which it was published (1, 2, 3, …)."""

    version: int
    payload: bytes


class Mailbox:
    """A latest-value cell over `buffer`, made for `Mailbox.size(capacity)`; values have at most `capacity` bytes."""

    def __init__(self, buffer: memoryview, capacity: int) -> None:
        self.capacity = capacity
        self._latest = AtomicInt64(buffer, 0)
        stride = _slot_size(capacity)
        self._slots = [_Slot(buffer[CACHE_LINE + i * stride :], capacity) for i in range(SLOTS)]

    @staticmethod
    def size(capacity: int) -> int:
        """Return the buffer size for values of at most `capacity` bytes."""
        return CACHE_LINE + SLOTS * _slot_size(capacity)

    @property
    def version(self) -> int:
        """Version of the latest value; 0 before the first."""
        return self._latest.load()

    def publish(self, *parts: Part) -> int:
        """Publish the concatenation of `parts` as the new value; return its version.

        Raises ValueError where it has more than `capacity` bytes.
        """
        version = self._latest.load() + 1
        self._slots[version % SLOTS].write(version, parts)
        self._latest.store(version)
        return version

    def publish_alone(self, payload: bytes) -> None:
        """Publish a value, and leave no byte of those before it."""
        version = self.publish(payload)
        for number, slot in enumerate(self._slots):
            slot.blank(after=len(payload) if number == version % SLOTS else None)

    def read(self) -> Versioned | None:
        """Copy the latest value; None before the first. Raises Torn if none is whole."""
        for _ in range(_ATTEMPTS):
            version = self._latest.load()
            if version == 0:
                return None
            payload = self._slots[version % SLOTS].read(version)
            if payload is not None:
                return Versioned(version, payload)
        raise Torn(f"no whole value in {_ATTEMPTS} attempts")

    def payload(self) -> bytes | None:
        """Copy the latest value's bytes; None where there is none that is whole."""
        try:
            letter = self.read()
        except Torn:
            return None
        return None if letter is None else letter.payload


def _slot_size(capacity: int) -> int:
    return -(-(_SLOT_HEADER + capacity) // CACHE_LINE) * CACHE_LINE


class _Slot:
    __slots__ = ("_checksum", "_length", "_payload", "_version")

    def __init__(self, buffer: memoryview, capacity: int) -> None:
        self._version, self._length, self._checksum = (
            AtomicInt64(buffer, 0),
            AtomicInt64(buffer, 8),
            AtomicInt64(buffer, 16),
        )
        self._payload = buffer[_SLOT_HEADER : _SLOT_HEADER + capacity]

    def write(self, version: int, parts: tuple[Part, ...]) -> None:
        views = [memoryview(part).cast("B") for part in parts if len(part)]  # type: ignore[arg-type]  # Buffer: 3.12
        length = sum(len(view) for view in views)
        if length > len(self._payload):
            raise ValueError(f"a value of {length} bytes exceeds the mailbox's {len(self._payload)}")
        self._version.store(0)
        end = checksum = 0
        for view in views:
            start, end = end, end + len(view)
            self._payload[start:end] = view
            checksum = zlib.crc32(view, checksum)
        self._length.store(length)
        self._checksum.store(checksum)
        self._version.store(version)

    def blank(self, after: int | None) -> None:
        """Write zeros after the value's bytes; over everything where there is no value to keep."""
        if after is None:
            self._version.store(0)
        start = after or 0
        self._payload[start:] = bytes(len(self._payload) - start)

    def read(self, version: int) -> bytes | None:
        if self._version.load() != version:
            return None
        length, checksum = self._length.load(), self._checksum.load()
        if not 0 <= length <= len(self._payload):
            return None
        payload = bytes(self._payload[:length])
        whole = self._version.load() == version and zlib.crc32(payload) == checksum
        return payload if whole else None
