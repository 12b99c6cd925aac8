"""A small corpus for a stream: whole sources to send, other whole sources to judge by."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.corpus.table import Corpus, CorpusError


def pack(corpus: Corpus, stream: Sequence[str], judge: Sequence[str], every: int, seed: int) -> Corpus:
    """Every `every`-th frame of these sources, in the order in which a node would see them.

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
