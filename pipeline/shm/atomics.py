"""Counters in shared memory: aligned 64-bit words, each alone on its cache line.

An aligned store through a cast memoryview is one machine store, so a reader sees the old value or the new one;
`struct.pack_into` may be seen half done.
"""

from __future__ import annotations

import platform

CACHE_LINE = 64
# x86 makes a processor's stores visible in program order. Elsewhere (aarch64) Python offers no fence, so rows carry a
# checksum there that is verified after each copy.
STORES_IN_ORDER = platform.machine().lower() in {"x86_64", "amd64", "i686"}


class AtomicInt64:
    """One signed 64-bit word at `offset` (a multiple of 8) of `buffer`."""

    __slots__ = ("_view",)

    def __init__(self, buffer: memoryview, offset: int) -> None:
        self._view = buffer[offset : offset + 8].cast("q")

    def load(self) -> int:
        """Return the value."""
        return self._view[0]

    def store(self, value: int) -> None:
        """Set the value."""
        self._view[0] = value
