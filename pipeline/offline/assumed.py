"""A corpus of zeros, with which an installation is tried out where there is no real one."""

import re

import numpy as np

from pipeline.corpus.table import FEATURES, TARGETS, Corpus, CorpusError

_CLIPS, _FRAMES = 4, 2


def assumed_corpus(dimensions: str) -> Corpus:
    """Return a few frames of zeros of two sources named after `dimensions`, such as 576x324."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", dimensions):
        raise CorpusError(f"dimensions {dimensions!r}: expected WIDTHxHEIGHT, such as 576x324")
    n = _CLIPS * _FRAMES
    clip = np.repeat(np.arange(_CLIPS), _FRAMES)
    return Corpus(
        features=np.zeros((n, len(FEATURES)), np.float32),
        targets={name: np.zeros(n, np.float32) for name in TARGETS},
        source=np.array([f"assumed-{dimensions}-{number % 2}" for number in clip]),
        clip=clip,
        frame=np.tile(np.arange(_FRAMES), _CLIPS),
        codec=np.full(n, "none"),
        part=np.full(n, ""),
    )
