"""Who learns from which rows: whole sources are left out, and whole clips of the others watch for over-fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.corpus.table import Corpus, CorpusError

VALIDATION_SHARE = 0.1
"""Share of the clips of the training sources that decides when to stop."""


@dataclass(frozen=True)
class Member:
    """One network to train: its seed, its rows, and the sources that it never sees."""

    seed: int
    left_out: tuple[str, ...]
    training: npt.NDArray[np.int64]
    """Rows to learn from."""
    validation: npt.NDArray[np.int64]
    """Rows of other clips of the same sources."""


def members(corpus: Corpus, folds: Sequence[tuple[str, ...]], seeds: Sequence[int]) -> list[Member]:
    """Return one member per fold (the sources that it leaves out) and seed, the seeds of a fold together."""
    return [_member(corpus, left_out, seed) for left_out in folds for seed in seeds]


def _member(corpus: Corpus, left_out: tuple[str, ...], seed: int) -> Member:
    seen = ~corpus.mask_of(left_out)
    clips = np.unique(corpus.clip[seen])
    if len(clips) < 2:
        without = f" without {', '.join(left_out)}" if left_out else ""
        raise CorpusError(f"{len(clips)} clips to learn from{without}; at least 2 are needed, one to validate by")
    n_validation = max(1, round(VALIDATION_SHARE * len(clips)))
    watched = np.isin(corpus.clip, np.random.default_rng(seed).permutation(clips)[:n_validation])
    return Member(seed, left_out, np.flatnonzero(seen & ~watched), np.flatnonzero(seen & watched))
