"""Frames of a log, some hundred at a time: what the readers give and all that follows takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Takes the names of all columns of a log, returns those to read; LogError where they do not suffice."""

LARGEST_NUMBER = 1 << 53


class LogError(Exception):
    """A log that cannot be read, or no further; the message says what was expected, and not which file it is."""


@dataclass(frozen=True)
class Block:
    """Consecutive frames of a log."""

    numbers: npt.NDArray[np.int64]
    """[n] of each frame, from 0; -1 where it is not a number."""
    columns: Mapping[str, npt.NDArray[np.float64]]
    """[n] each, by the name in the log; NaN where a value is missing or not a number."""

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, which: npt.NDArray[Any] | slice) -> Block:
        """Return the frames that a mask or a slice picks."""
        return Block(self.numbers[which], {name: values[which] for name, values in self.columns.items()})


def block_of(wanted: Sequence[str], numbers: Sequence[int], rows: Sequence[Sequence[float | None]]) -> Block | None:
    """Return a block of frames whose values are in the order of `wanted`; None of no frame."""
    if not numbers:
        return None
    values = np.array(rows, np.float64).reshape(len(numbers), len(wanted))
    return Block(np.array(numbers, np.int64), dict(zip(wanted, values.T, strict=True)))


class Parser(Protocol):
    """One of the formats, fed with bytes as they come."""

    ended: bool
    """Whether the last frame of the log has been seen."""

    def feed(self, data: bytes) -> Block | None:
        """Return the frames that are complete with `data`."""
        ...

    def close(self) -> Block | None:
        """Return what is left when no more bytes come."""
        ...


def number_of(text: str | bytes) -> int:
    """Return a frame's number; -1 where the text is none."""
    try:
        number = int(text)
    except ValueError:
        return -1
    return number if 0 <= number <= LARGEST_NUMBER else -1


def value_of(text: str | bytes) -> float:
    """Return a measured value; NaN where the text is no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
