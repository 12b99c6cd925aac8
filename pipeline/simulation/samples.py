"""The samples of a simulation, as rows of a ring: from an archive or from a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.ingest.dedup import name_hashes
from pipeline.shm.rows import RowBatch


class SamplesError(Exception):
    """Samples that cannot be replayed; the message says why."""


def of_archive(
    root: Path,
    tenant: str | None = None,
    since: float | None = None,
    *,
    opinions: tuple[float, float] | None = None,
) -> RowBatch:
    """Return the samples of an archive, in order of arrival.

    With the lowest and the highest grade of a scale, `opinions`, the score is the subjective one, from 0 to 100, of
    those samples that have one. Raises ArchiveError, or SamplesError where none has one, or one is not on the scale.
    """
    from pipeline.archive import reading

    score = "true_score" if opinions is None else "ground_truth_score"
    table = reading.read(root, ["features", score, "job_id", "source_id", "node_id", "codec", "height"], tenant, since)
    if opinions is not None:
        table = table.filter(table[score].is_valid())
        if not len(table):
            raise SamplesError(
                f"{root}: no sample has a ground_truth_score, which VMAFX_SIDECAR_TARGET says is learned"
            )
    features = reading.features(table)
    rows = RowBatch(len(table), features.shape[1])
    rows.features[:] = features
    rows.score[:] = _scores(root, table[score].to_numpy(), opinions)
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


def _scores(root: Path, grades: Any, scale: tuple[float, float] | None) -> Any:
    """Return scores from 0 to 100, as ingest makes them of grades."""
    if scale is None:
        return grades
    low, high = scale
    if grades.min() < low or grades.max() > high:
        raise SamplesError(
            f"{root}: ground_truth_score from {grades.min():g} to {grades.max():g}, expected {low:g} to {high:g}: "
            "is VMAFX_SIDECAR_MOS_RANGE the scale of these grades?"
        )
    return 100 * (grades - low) / (high - low)


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
