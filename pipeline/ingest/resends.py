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
        for key in newest:
            self._admit(key)

    def admit(self, keys: list[int]) -> list[bool] | None:
        """Remember `keys` and forget as many of the oldest; tell which are new, None if all of them are."""
        end = self._next + len(keys)
        oldest = self._keys[self._next : end]
        self._seen.difference_update(oldest)
        kept = len(self._seen)
        self._seen.update(keys)
        if end > len(self._keys) or len(self._seen) < kept + len(keys):
            self._seen = set(self._keys)
            return [self._admit(key) for key in keys]
        self._keys[self._next : end] = keys
        self._next = end % len(self._keys)
        return None

    def _admit(self, key: int) -> bool:
        if key in self._seen:
            return False
        self._seen.discard(self._keys[self._next])
        self._keys[self._next] = key
        self._seen.add(key)
        self._next = (self._next + 1) % len(self._keys)
        return True
