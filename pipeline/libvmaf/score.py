"""What a model says of logs, beside the scores that they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.naming import Naming
from pipeline.libvmaf.samples import LogSamples, Samples, Wanted
from pipeline.model.accuracy import agreement
from pipeline.model.errors import UnusableModel
from pipeline.model.runtime import OnnxModel
from pipeline.node.model import admit, plain_probe
from pipeline.node.policy import Policy

_Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Scored:
    """Samples of one log, or of all: their numbers, what the model predicts and, where the log says it, the score."""

    name: str
    numbers: npt.NDArray[np.int64]
    predicted: _Vector
    measured: _Vector | None

    def figures(self) -> dict[str, float | None]:
        """Return means, error and correlations; None for what does not exist."""
        figures: dict[str, float] = {"predicted": _mean(self.predicted)}
        if self.measured is not None:
            figures["measured"] = _mean(self.measured)
            figures |= agreement(self.predicted, self.measured)
        known = {name: figure if np.isfinite(figure) else None for name, figure in figures.items()}
        return {name: known.get(name) for name in FIGURES}


FIGURES = ("predicted", "measured", "rmse", "plcc", "srocc")
"""The names of `figures`: the means first."""


def model_at(path: Path, policy: str) -> Path:
    """Return the model that is meant: a file, or of a checkpoint directory the one that a node would take.

    A checkpoint has to hold what its digest says. LogError where there is none; UnusableModel.
    """
    if not path.is_dir():
        return path
    chosen = Policy.parse(policy)
    candidates = chosen.candidates(path)
    if not candidates:
        withheld = chosen.withheld(path)
        newest = f"; the newest, {withheld[0].name}, is not stable: {withheld[1]}" if withheld else ""
        raise LogError(f"{path}: no checkpoint for {policy}{newest}")
    checkpoint = candidates[0]
    admit(checkpoint, plain_probe(OnnxModel(checkpoint).n_features))
    return checkpoint


class Scorer:
    """Predicts the samples of logs with one model; what is wrong with a log goes to `tell`, in one line."""

    def __init__(self, model: OnnxModel, wanted: Wanted, naming: Naming, tell: Callable[[str], None]) -> None:
        if len(wanted.features) != model.n_features:
            raise UnusableModel(
                repr(model), f"takes {model.n_features} features; {len(wanted.features)} are named: give --features"
            )
        self._model = model
        self._wanted = wanted
        self._naming = naming
        self._tell = tell

    def score(self, path: Path) -> Scored | None:
        """Return what there is of a log; None where it has no sample."""
        try:
            log = LogSamples(path, self._wanted, self._naming.of(path))
            parts: list[Samples] = [*log.read(), *log.close()]
        except (LogError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self._tell(f"{path}: {reason}; left out")
            return None
        for line in log.complaints():
            self._tell(line)
        if not parts:
            return None
        features = np.concatenate([part.features for part in parts])
        scores = [part.scores for part in parts if part.scores is not None]
        measured = np.concatenate(scores).astype(np.float32) if scores else None
        numbers = np.concatenate([part.numbers for part in parts])
        return Scored(str(path), numbers, self._model.predict(features), measured)


def over_all(scored: Sequence[Scored]) -> Scored:
    """Return the samples of all logs together; with scores, those of the logs that have some."""
    judged = [each for each in scored if each.measured is not None] or scored
    measured = [each.measured for each in judged if each.measured is not None]
    return Scored(
        "all",
        np.concatenate([each.numbers for each in judged]),
        np.concatenate([each.predicted for each in judged]),
        np.concatenate(measured) if measured else None,
    )


def _mean(values: _Vector) -> float:
    return float(np.mean(values, dtype=np.float64))
