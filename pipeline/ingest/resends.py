"""Recognises what was accepted before: a client that missed an answer sends the same message again."""

from __future__ import annotations


class Resends:
    """The identities of the `window` newest accepted samples, and of some older ones.

    They lie in two sets in turn, so that to forget is to drop a set, at no cost for each.
    """

    __slots__ = ("_newer", "_older", "_window")

    def __init__(self, window: int, newest: list[int]) -> None:
        """Start from the identities in `newest`."""
        self._window = window
        self._older: set[int] = set()
        self._newer = set(newest)

    def admit(self, keys: list[int]) -> list[bool] | None:
        """Remember `keys`; tell which are new, None if all of them are."""
        known = len(self._newer)
        if known >= self._window:
            self._older, self._newer, known = self._newer, set(), 0
        if self._newer.isdisjoint(keys) and self._older.isdisjoint(keys):
            self._newer.update(keys)
            if len(self._newer) == known + len(keys):
                return None
            self._newer.difference_update(keys)
        return [self._admit(key) for key in keys]

    def _admit(self, key: int) -> bool:
        if key in self._newer or key in self._older:
            return False
        self._newer.add(key)
        return True
