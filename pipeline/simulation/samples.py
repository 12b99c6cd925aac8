"""The samples of a simulation, as rows of a ring: from an archive or from a corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.ingest.dedup import name_hashes
from pipeline.shm.rows import RowBatch


class SamplesError(Exception):
    """Samples that cannot be replayed; the message says why."""


def of_archive(root: Path, tenant: str | None, since: float | None) -> RowBatch:
    """Return the samples of an archive, in order of arrival. Raises ArchiveError."""
    from pipeline.archive import reading

    table = reading.read(
        root, ["features", "true_score", "job_id", "source_id", "node_id", "codec", "height"], tenant, since
    )
    features = reading.features(table)
    rows = RowBatch(len(table), features.shape[1])
    rows.features[:] = features
    rows.score[:] = table["true_score"].to_numpy()
    rows.arrival[:] = reading.arrivals(table)
    jobs, sources, nodes = (table[name].to_pylist() for name in ("job_id", "source_id", "node_id"))
    rows.job[:] = name_hashes(jobs)
    rows.group[:] = name_hashes([job if source is None else source for job, source in zip(jobs, sources, strict=True)])
    for column, owners in (
        (rows.node, nodes),
        (rows.tenant, table["tenant_id"].to_pylist()),
        (rows.codec, table["codec"].to_pylist()),
    ):
        column[:] = [int(name_hashes([owner])[0]) if owner else 0 for owner in owners]
    rows.height[:] = [height if height and 0 < height < 2**32 else 0 for height in table["height"].to_pylist()]
    return rows


def of_corpus(path: Path, target: str) -> RowBatch:
    """Return the frames of a corpus in their order, each source a group. Raises CorpusError."""
    from pipeline.corpus.read import load_corpus

    corpus = load_corpus(path)
    rows = RowBatch(len(corpus), corpus.features.shape[1])
    rows.features[:] = corpus.features
    rows.score[:] = corpus.target(target)
    rows.group[:] = rows.job[:] = name_hashes(corpus.source.tolist())
    rows.arrival[:] = np.arange(len(corpus))
    return rows
