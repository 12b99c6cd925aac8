"""From a log to what a model is given: checked, pooled, in the order of the model's inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.libvmaf.block import Block, LogError
from pipeline.libvmaf.checks import Checks
from pipeline.libvmaf.pool import FRAME, MEAN, Pool
from pipeline.libvmaf.problems import Problems
from pipeline.libvmaf.reader import LogReader
from pipeline.model.features import Features, MissingFeatures, listed

ENCODED = ("codec", "preset", "crf")
"""What a model with a codec block takes, beside libvmaf's features: of the encode, not of the frame."""


@dataclass(frozen=True)
class Wanted:
    """What to take of a log: a model's inputs, a column as its score, and how to pool.

    A log without the score's column is an error where `needs_score`, and has no scores elsewhere.
    """

    features: Features
    score: str = "vmaf"
    needs_score: bool = True
    pool: str = FRAME
    how: str = MEAN
    frame_rate: float = 0.0


@dataclass(frozen=True)
class Samples:
    """Frames, or what they are pooled to."""

    numbers: npt.NDArray[np.int64]
    """[n] of each frame or second, from 0."""
    features: npt.NDArray[np.float32]
    """[n, n_features]."""
    scores: npt.NDArray[np.float64] | None
    """[n], 0 to 100; None where the log has none."""

    def __len__(self) -> int:
        return len(self.numbers)

    def after(self, first: int) -> Samples:
        """Return all but the first ones."""
        scores = None if self.scores is None else self.scores[first:]
        return Samples(self.numbers[first:], self.features[first:], scores)


class LogSamples:
    """The samples of one log, from where it has been read to; `frames` counts those used.

    `encoded` says how it was encoded, by the names of ENCODED as far as they are known.
    """

    def __init__(self, path: Path, wanted: Wanted, encoded: Mapping[str, str | float]) -> None:
        self.path = path
        self.frames = 0
        self._wanted = wanted
        self._encoded = {name: encoded[name] for name in ENCODED if name in encoded}
        self._problems = Problems()
        self._reader = LogReader(path, self._choose, self._problems)
        self._pool = Pool(wanted.pool, wanted.how, wanted.frame_rate)
        self._score: str | None = None
        self._checks: Checks | None = None

    @property
    def ended(self) -> bool:
        """Whether the log says that no frame follows."""
        return self._reader.ended

    def read(self) -> Iterator[Samples]:
        """Yield the samples that have come since the last call; LogError, OSError where they cannot be read."""
        for block in self._reader.blocks():
            yield from self._taken(block)

    def close(self) -> Iterator[Samples]:
        """Yield what is left when the log does not grow any more; LogError where it holds no frame."""
        for block in self._reader.close():
            yield from self._taken(block)
        last = self._pool.flush()
        if last is not None:
            yield self._samples(last)

    def complaints(self) -> list[str]:
        """Return what was wrong with frames, a line for each kind."""
        return [f"{self.path}: {line}" for line in self._problems.lines(self.frames)]

    def _choose(self, names: Sequence[str]) -> Sequence[str]:
        wanted = self._wanted
        if wanted.score in names:
            self._score = wanted.score
        elif wanted.needs_score:
            raise LogError(f"has no column {wanted.score}, expected the score there; it has {listed(sorted(names))}")
        try:
            columns = wanted.features.columns([*names, *self._encoded], str(self.path))
        except MissingFeatures as error:
            lacking, there = listed(error.missing), listed(sorted(names))
            hint = "say --codec, --preset, --crf" if set(error.missing) <= set(ENCODED) else "a log of another model?"
            raise LogError(f"has no {lacking}, which the model takes; it has {there} ({hint})") from None
        self._checks = Checks(self._score, self._problems)
        measured = [name for name in columns if name not in self._encoded]
        return tuple(dict.fromkeys((*measured, *([self._score] if self._score else []))))

    def _taken(self, block: Block) -> Iterator[Samples]:
        assert self._checks is not None
        block = self._checks.passed(block)
        self.frames += len(block)
        pooled = self._pool.add(block)
        if len(pooled):
            yield self._samples(pooled)

    def _samples(self, block: Block) -> Samples:
        scores = np.clip(block.columns[self._score], 0, 100) if self._score else None
        encoded = {name: np.full(len(block), value) for name, value in self._encoded.items()}
        features = self._wanted.features.matrix({**block.columns, **encoded}, str(self.path))
        return Samples(block.numbers, features, scores)
