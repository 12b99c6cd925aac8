"""Packed corpora: some whole sources to send, others to judge by, in a small file that numpy alone reads.

Names are an index into a table of names.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import Corpus, CorpusError, converted
from pipeline.model.features import default_names

_TEXTS = ("source", "codec", "part")
_TEXT_DETAILS = ("preset", "node_id", "tenant_id")
_NAMES = "_names"  # what the array of the names of a text is called after it


def pack(corpus: Corpus, stream: Sequence[str], judge: Sequence[str], every: int, seed: int) -> Corpus:
    """Pick every `every`-th frame of these sources, in the order in which a node would see them.

    Clips come in random order, the frames of a clip in their own. Raises CorpusError when a source is
    unknown or in both parts.
    """
    both = sorted(set(stream) & set(judge))
    if both:
        raise CorpusError(f"source {', '.join(both)} is in both parts; a source that is sent cannot judge")
    judged = corpus.mask_of(judge)
    part = np.where(judged, "judge", "stream")
    kept = (judged | corpus.mask_of(stream)) & (corpus.frame % every == 0)
    packed = replace(corpus, part=part).rows(kept)
    return packed.rows(_order(packed, np.random.default_rng(seed)))


def _order(corpus: Corpus, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    clips, clip = np.unique(corpus.clip, return_inverse=True)
    return np.lexsort((corpus.frame, random.permutation(len(clips))[clip]))


def write_npz(path: Path, corpus: Corpus) -> None:
    """Write `corpus`, compressed."""
    arrays: dict[str, npt.NDArray[Any]] = {"features": corpus.features, **corpus.targets}
    texts = {name: getattr(corpus, name) for name in _TEXTS}
    for name, detail in corpus.details.items():
        (texts if name in _TEXT_DETAILS else arrays)[name] = detail
    for name, values in texts.items():
        names, index = np.unique(values, return_inverse=True)
        arrays |= {name: index.astype(np.uint16), f"{name}{_NAMES}": names}
    arrays |= {"clip_id": corpus.clip.astype(np.uint32), "frame": corpus.frame.astype(np.uint32)}
    arrays["feature_names"] = np.array(corpus.names, np.str_)
    np.savez_compressed(path, allow_pickle=False, **arrays)


class PackedTable:
    """What `write_npz` wrote, with pickles refused.

    Without `feature_names`, as files were before, six features are libvmaf's and others are counted.
    """

    scaled = True

    def __init__(self, path: Path) -> None:
        """Read the file. Raises CorpusError."""
        self.name = str(path)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                self._arrays = dict(archive)
        except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise CorpusError(f"{path}: not a corpus in .npz format: {error}") from error
        self._matrix = self._arrays.pop("features", np.empty(0))
        if self._matrix.ndim != 2:
            raise CorpusError(f"{path}: features has shape {self._matrix.shape}, expected (rows, features)")
        width = self._matrix.shape[1]
        names = self._arrays.pop(f"feature{_NAMES}", np.array(default_names(width), np.str_))
        self.features = tuple(map(str, names.tolist())) if names.ndim == 1 else ()
        if len(set(self.features)) != width:
            raise CorpusError(f"{path}: features has {width} columns, feature_names {len(set(self.features))} names")
        self._texts = {name: self._arrays.pop(f"{name}{_NAMES}") for name in self._texts_there()}
        for name, array in self._arrays.items():
            if array.shape != (len(self._matrix),):
                raise CorpusError(f"{path}: {name} has shape {array.shape}, expected ({len(self._matrix)},)")

    @property
    def names(self) -> Sequence[str]:
        """The features, then the other arrays."""
        return (*self.features, *(name for name in self._arrays if name not in self.features))

    def read(self, kinds: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
        """Return columns by name, each as float32, int64 or str. Raises CorpusError."""
        return {name: converted(self._column(name), name, kind, self.name) for name, kind in kinds.items()}

    def _column(self, name: str) -> npt.NDArray[Any]:
        if name in self.features:
            column: npt.NDArray[Any] = self._matrix[:, self.features.index(name)]
            return column
        array = self._arrays[name]
        if name not in self._texts:
            values: npt.NDArray[Any] = array
            return values
        try:
            text: npt.NDArray[Any] = self._texts[name][array]
        except IndexError as error:
            raise CorpusError(f"{self.name}: {name} does not index {name}{_NAMES}") from error
        return text

    def _texts_there(self) -> list[str]:
        return [name for name in (*_TEXTS, *_TEXT_DETAILS) if f"{name}{_NAMES}" in self._arrays]
