"""A predictor with its local correction added."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from pipeline.correction.captures import Features, Observation, Outcome, Query, named
from pipeline.correction.correction import Correction
from pipeline.correction.store import CorrectionStore

Predict: TypeAlias = Callable[[Any, float, str], float]
"""The predictor to correct, predict(features, crf, codec): read-only; it gets the features as the caller gave them."""


class _Stamp(NamedTuple):
    inode: int
    modified_ns: int
    size: int


class CorrectedPredictor:
    """Wraps any `predict(features, crf, codec) -> float`; the wrapped predictor is called and never changed.

    What other processes record is seen by the next prediction: every write replaces the state file, and a
    prediction reads it again when it has been replaced.
    """

    def __init__(self, predict: Predict, store: CorrectionStore) -> None:
        self._predict = predict
        self._store = store
        self._known: dict[str, tuple[_Stamp | None, Correction]] = {}

    def predict(self, features: Features, crf: float, codec: str) -> float:
        """Return the predicted score plus the correction, clipped to 0 to 100.

        Before the first capture of a codec the correction is exactly 0.0.

        Raises:
            CorrectionError: a value that is not finite or too large, other features than those learned from, or a
                codec that is not a plain name.

        """
        values = named(features)
        query = Query(values, crf, self._predict(features, crf, codec))
        return self._correction(codec).apply(query).corrected

    def record(self, features: Features, crf: float, codec: str, observed: float) -> Outcome:
        """Learn from an encode whose score was measured; on return it is on disk.

        Raises:
            CorrectionError: as `predict`, or an observed score outside 0 to 100; nothing is learned then.
            OSError: the state cannot be read or written.

        """
        values = named(features)
        observation = Observation(values, crf, self._predict(features, crf, codec), observed)
        return self._store.record(codec, observation)[1]

    def _correction(self, codec: str) -> Correction:
        stamp = _stamp(self._store.path(codec))
        if codec not in self._known or self._known[codec][0] != stamp:
            self._known[codec] = stamp, self._store.load(codec)
        return self._known[codec][1]


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _Stamp(status.st_ino, status.st_mtime_ns, status.st_size)
