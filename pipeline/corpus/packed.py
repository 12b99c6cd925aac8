"""Packed corpora: some whole sources to send, others to judge by, in a small file that numpy alone reads.

Names are an index into a table of names.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import FEATURES, Corpus, CorpusError, corpus_from_columns

_NAMES = ("source", "codec", "part")


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
    for name in _NAMES:
        names, index = np.unique(getattr(corpus, name), return_inverse=True)
        arrays |= {name: index.astype(np.uint16), f"{name}_names": names}
    arrays |= {"clip_id": corpus.clip.astype(np.uint32), "frame": corpus.frame.astype(np.uint32)}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def read_npz(path: Path) -> Corpus:
    """Read what `write_npz` wrote, with pickles refused. Raises CorpusError."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise CorpusError(f"{path}: not a corpus in .npz format: {error}") from error
    return corpus_from_columns(_columns(arrays, path), path)


def _columns(arrays: dict[str, npt.NDArray[Any]], path: Path) -> dict[str, npt.NDArray[Any]]:
    features = arrays.pop("features", np.empty(0))
    if features.ndim != 2 or features.shape[1] != len(FEATURES):
        raise CorpusError(f"{path}: features has shape {features.shape}, expected (rows, {len(FEATURES)})")
    names = {name: arrays.pop(f"{name}_names", np.empty(0)) for name in _NAMES}
    for name, array in arrays.items():
        if array.shape != (len(features),):
            raise CorpusError(f"{path}: {name} has shape {array.shape}, expected ({len(features)},)")
    for name in _NAMES:
        try:
            arrays[name] = names[name][arrays[name]]
        except (KeyError, IndexError) as error:
            raise CorpusError(f"{path}: {name} does not index {name}_names") from error
    return arrays | dict(zip(FEATURES, features.T, strict=True))
