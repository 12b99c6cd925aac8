"""Reads a log as the commands do, and keeps everything."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.pool import FRAME, MEAN
from pipeline.libvmaf.samples import LogSamples, Wanted
from pipeline.model.features import SIX, Features

LOGS = Path(__file__).with_name("logs")
ENCODE = [LOGS / f"mandelbrot_libx264_36.{suffix}" for suffix in ("json", "xml", "csv")]


@dataclass
class Read:
    """What was used of a log, and what was told of it."""

    numbers: list[int] = field(default_factory=list)
    features: list[list[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def read(
    path: Path, target: str = "vmaf", pool: str = FRAME, how: str = MEAN, rate: float = 0.0, **encoded: str | float
) -> Read:
    """Read all of a log; what it is told of lacks the file's name."""
    names = tuple(encoded.pop("names", ",".join(SIX)).split(","))  # type: ignore[union-attr]
    log, found = LogSamples(path, Wanted(Features.of(names), target, True, pool, how, rate), encoded), Read()
    errors = []
    try:
        for part in (*log.read(), *log.close()):
            assert part.features.dtype == np.float32
            assert part.scores is not None
            found.numbers += part.numbers.tolist()
            found.features += part.features.tolist()
            found.scores += part.scores.tolist()
    except LogError as error:
        errors = [str(error)]
    found.told = [line.removeprefix(f"{path}: ") for line in log.complaints()] + errors
    return found
