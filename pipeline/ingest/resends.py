"""Recognises what was accepted before: a client that missed an answer sends the same message again."""

from __future__ import annotations


class Resends:
    """The identities of the `window` newest accepted samples."""

    __slots__ = ("_keys", "_next", "_seen")

    def __init__(self, window: int, newest: list[int]) -> None:
        """Start from the identities in `newest`, oldest first."""
        self._keys = [0] * window
        self._next = 0
        self._seen: set[int] = set()
        for key in newest[-window:]:
            self.add(key)

    def __contains__(self, key: int) -> bool:
        return key in self._seen

    def add(self, key: int) -> None:
        """Remember `key`; the oldest is forgotten."""
        self._seen.discard(self._keys[self._next])
        self._keys[self._next] = key
        self._seen.add(key)
        self._next = (self._next + 1) % len(self._keys)
