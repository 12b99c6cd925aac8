"""A sidecar's archive as a corpus: a job is a clip, `true_score` the target `vmaf`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import CorpusError, converted
from pipeline.model.features import default_names
from pipeline.runtime.extras import lacking

_COLUMNS = ("vmaf", "ground_truth_score", "source", "clip_id", "frame", "codec")


def is_archive(path: Path) -> bool:
    """Whether a path is the directory of an archive."""
    return path.is_dir() and any(path.glob("tenant=*"))


class ArchiveTable:
    """Every sample of an archive, a row each. The features have the names of as many features."""

    scaled = False

    def __init__(self, root: Path) -> None:
        """Read the files. Raises CorpusError."""
        self.name = str(root)
        if reason := lacking("archive", "an archive"):
            raise CorpusError(f"{root}: {reason}")
        from pipeline.archive import reading

        wanted = ["features", "true_score", "ground_truth_score", "job_id", "source_id", "codec"]
        try:
            self._table = reading.read(root, wanted)
        except reading.ArchiveError as error:
            raise CorpusError(str(error)) from None
        self._values = reading.features(self._table)
        self.features: Sequence[str] = default_names(self._values.shape[1])
        self.names: Sequence[str] = (*self.features, *_COLUMNS)

    def read(self, kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        """Return columns by name."""
        return {name: converted(self._column(name), name, kind, self.name) for name, kind in kinds.items()}

    def _column(self, name: str) -> npt.NDArray[Any]:
        if name in self.features:
            column: npt.NDArray[Any] = self._values[:, list(self.features).index(name)]
            return column
        jobs = self._table["job_id"].to_pylist()
        if name == "clip_id":
            return np.unique(np.array(jobs, np.str_), return_inverse=True)[1]
        if name == "frame":
            return np.arange(len(jobs))
        if name == "source":
            sources = self._table["source_id"].to_pylist()
            return np.array([job if source is None else source for job, source in zip(jobs, sources, strict=True)])
        if name == "codec":
            return np.array([codec or "unknown" for codec in self._table["codec"].to_pylist()], np.str_)
        scores: npt.NDArray[Any] = self._table["true_score" if name == "vmaf" else name].to_numpy()
        return scores
