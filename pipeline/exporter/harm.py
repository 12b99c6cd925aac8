"""Which groups a candidate makes worse: no group pays for what the others gain.

Of each group: by how much our mean absolute error is above the base model's, and how far that may be chance. Its noise
has two parts. Rows of one encode that follow each other are alike, so each encode's rows are cut into batches of eight,
and the means of these vary about that of the encode (batch means; Law, Simulation Modeling and Analysis, 2015, chapter
9). And an encode as a whole is one draw: between two trainings that are as good, its error differs by `ENCODE_NOISE`,
and a group has the less of it the more encodes it has. As many groups are looked at, each is judged by
Holm's method (Holm 1979): with `CONFIDENCE` none is named by chance.

A group whose scores neither model follows tells nothing: one client's random scores must not stop everybody's training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.model.accuracy import plcc

MARGIN = 0.25
"""Score points by which the error of a group may be above the base model's."""

ENCODE_NOISE = 0.75
"""Standard deviation in score points; measured, docs/decisions/0033-stability-gate.md."""

CONFIDENCE = 0.95

MIN_SPREAD = 1.0
"""Standard deviation of a group's scores, in points; below it no model needs to follow them."""

NEARER = 0.9
"""A model that is no more than a tenth nearer to scores than their own mean may be so by chance."""

_BATCH = 8
MIN_ROWS = 3 * _BATCH
"""Of fewer rows of a group nothing can be told."""
MIN_ROWS_OF_AN_ENCODE = 3
"""Where jobs have fewer on average, a job is no encode."""

Errors = npt.NDArray[np.float64]
Whole = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Harm:
    """A group (as in the gate set) that got worse: mean absolute errors, and our bound on the chance."""

    group: int
    ours: float
    theirs: float


def harmed(ours: Errors, theirs: Errors, score: Errors, group: Whole, job: Whole, order: Whole) -> list[Harm]:
    """Return the groups that are worse beyond margin and noise, the surest first.

    `ours` and `theirs` are the errors (predicted less true) of two models on the same rows, `job` tells encodes apart,
    and `order` is the order in which the rows came.
    """
    in_order = np.lexsort((order, job, group))
    ours, theirs, score, group, job = ours[in_order], theirs[in_order], score[in_order], group[in_order], job[in_order]
    _, starts, sizes = np.unique(group, return_index=True, return_counts=True)
    places = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True) if size >= MIN_ROWS]
    difference = np.abs(ours) - np.abs(theirs)
    tested = [
        (_chance(difference[rows], job[rows]), int(group[rows.start]), rows)
        for rows in places
        if _follows(ours[rows], score[rows]) or _follows(theirs[rows], score[rows])
    ]
    worse: list[Harm] = []
    for rank, (chance, name, rows) in enumerate(sorted(tested, key=lambda each: each[0])):
        if chance > (1 - CONFIDENCE) / (len(tested) - rank):
            break
        worse.append(Harm(name, *(float(np.abs(errors[rows]).mean()) for errors in (ours, theirs))))
    return worse


def _follows(errors: Errors, score: Errors) -> bool:
    """Whether a model is clearly nearer to a group's scores than their mean is, or rises with them beyond chance."""
    spread = float(score.std())
    if spread < MIN_SPREAD or float(np.sqrt(np.mean(errors**2))) < NEARER * spread:
        return True
    return plcc(score + errors, score) > 3 / math.sqrt(len(score))


def _chance(difference: Errors, job: Whole) -> float:
    """Return how likely the mean difference of a group's rows is, were it not above the margin.

    The rows of each job lie together, in the order in which they came.
    """
    _, first, sizes = np.unique(job, return_index=True, return_counts=True)
    if len(difference) < MIN_ROWS_OF_AN_ENCODE * len(sizes):  # a job a frame
        first, sizes = np.array([0]), np.array([len(difference)])
    starts = np.concatenate([np.arange(at, at + size, _BATCH) for at, size in zip(first, sizes, strict=True)])
    batches = np.diff(np.append(np.sort(starts), len(difference)))
    encode = np.repeat(np.arange(len(first)), -(-sizes[np.argsort(first)] // _BATCH))
    means = np.add.reduceat(difference, np.sort(starts)) / batches
    of_encode = (np.bincount(encode, means) / np.bincount(encode))[encode]
    variance = float(((means - of_encode) ** 2).sum()) / max(1, len(means) - len(first))
    noise = math.sqrt(variance / len(means) + ENCODE_NOISE**2 / len(first))
    return 0.5 * math.erfc((difference.mean() - MARGIN) / noise / math.sqrt(2))
