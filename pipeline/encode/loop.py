"""The loop of the node: encode, predict, measure, send; what comes of that predicts the next encodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.corpus.pairs import Pair
from pipeline.corpus.table import CorpusError
from pipeline.encode.measure import Encode, Encodes
from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.naming import Detail
from pipeline.libvmaf.samples import LogSamples, Wanted
from pipeline.libvmaf.sender import Sender
from pipeline.model.runtime import OnnxModel
from pipeline.node.watcher import CheckpointWatcher


@dataclass(frozen=True)
class Prediction:
    """Of an encode that has not been measured yet: the mean over its frames."""

    pair: Pair
    model: str
    score: float
    base: float
    """What the base model says."""


@dataclass(frozen=True)
class Outcome:
    """The same encode, once it is measured."""

    prediction: Prediction
    measured: float

    @property
    def error(self) -> float:
        """By how much the prediction was too high."""
        return self.prediction.score - self.measured

    @property
    def base_error(self) -> float:
        """By how much the base model's would have been."""
        return self.prediction.base - self.measured


class Loop:
    """Goes through pairs; `predicted` and `measured` are told of each as it comes. CorpusError, LogError, OSError."""

    def __init__(
        self, encodes: Encodes, wanted: Wanted, watcher: CheckpointWatcher, base: Path, sender: Sender
    ) -> None:
        self._encodes = encodes
        self._wanted = wanted
        self._watcher = watcher
        self._base = OnnxModel(base)
        self._sender = sender

    def run(
        self, pairs: Iterable[Pair], predicted: Callable[[Prediction], None], measured: Callable[[Outcome], None]
    ) -> None:
        """Encode, predict, measure and send each."""
        for pair in pairs:
            try:
                encode = self._encodes.make(pair)
                prediction = self._predict(encode)
                predicted(prediction)
                measured(Outcome(prediction, self._measure(encode)))
            except (CorpusError, LogError) as error:
                raise type(error)(f"{pair.source}, {pair.label}: {error}") from error

    def _predict(self, encode: Encode) -> Prediction:
        log = encode.features()
        features = _features(log, self._wanted, encode.details(1))
        model = self._watcher.model
        score, base = (float(np.mean(each.predict(features))) for each in (model, self._base))
        return Prediction(encode.pair, Path(model.name).stem, score, base)

    def _measure(self, encode: Encode) -> float:
        """Measure the score, send every frame, and return the mean."""
        log, scores = encode.score(), list[float]()
        samples = LogSamples(log, self._wanted, encode.details(1))
        parts = [*samples.read(), *samples.close()]
        details = encode.details(samples.frames)
        self._sender.counts.logs += 1
        for part in parts:
            assert part.scores is not None
            scores += part.scores.tolist()
            self._sender.send(part, details)
        for line in samples.complaints():
            self._sender.complain(line)
        return float(np.mean(scores))


def _features(log: Path, wanted: Wanted, encoded: dict[str, Detail]) -> npt.NDArray[np.float32]:
    """Return the features of a log, float32[n, n_features], without a look at its score."""
    unscored = Wanted(wanted.features, score="", needs_score=False)
    samples = LogSamples(log, unscored, encoded)
    parts = [part.features for part in (*samples.read(), *samples.close())]
    if not parts:
        raise LogError("no frame of libvmaf's log can be used")
    return np.concatenate(parts)
