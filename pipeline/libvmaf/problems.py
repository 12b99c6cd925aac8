"""What was wrong with single frames of a log, told in one line a kind, however many frames there are of it."""

from __future__ import annotations


class Problems:
    """The kinds of problem met so far, each with the first of them and how many frames it kept out."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._frames: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._first)

    def add(self, kind: str, detail: str, frames: int = 1) -> None:
        """Note that `frames` frames are left out; `detail` names the first, and what was expected of it."""
        self._first.setdefault(kind, detail)
        self._frames[kind] = self._frames.get(kind, 0) + frames

    def lines(self, used: int) -> list[str]:
        """Return a line for each kind; `used` frames were not left out."""
        return [f"{detail}; {_left_out(self._frames[kind])}, {used} used" for kind, detail in self._first.items()]


def _left_out(frames: int) -> str:
    return f"{frames} frame{'s' * (frames != 1)} left out" if frames else "nothing after it is read"
