"""A sidecar's archive as a corpus: a job is a clip, `true_score` the target `vmaf`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.corpus.table import FEATURES, Corpus, CorpusError
from pipeline.runtime.extras import lacking


def read_archive(root: Path) -> Corpus:
    """Read every sample. Raises CorpusError where there are none, or where they have other features than six."""
    if reason := lacking("archive", "an archive"):
        raise CorpusError(f"{root}: {reason}")
    from pipeline.archive import reading

    try:
        table = reading.read(root, ["features", "true_score", "job_id", "source_id", "codec"])
    except reading.ArchiveError as error:
        raise CorpusError(str(error)) from None
    features = reading.features(table)
    if features.shape[1] != len(FEATURES):
        raise CorpusError(f"{root}: {features.shape[1]} features, expected {len(FEATURES)}: {', '.join(FEATURES)}")
    jobs, sources, codecs = (table[name].to_pylist() for name in ("job_id", "source_id", "codec"))
    n = len(jobs)
    return Corpus(
        features=features,
        targets={"vmaf": table["true_score"].to_numpy().astype(np.float32)},
        source=np.array(
            [job if source is None else source for job, source in zip(jobs, sources, strict=True)], np.str_
        ),
        clip=np.unique(np.array(jobs, np.str_), return_inverse=True)[1].astype(np.int64),
        frame=np.arange(n),
        codec=np.array([codec or "unknown" for codec in codecs], np.str_),
        part=np.full(n, "", np.str_),
    )
