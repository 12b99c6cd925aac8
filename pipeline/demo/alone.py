"""What a sidecar would have learned alone: the trainer's training and the exporter's gate, as `simulate` runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline import config
from pipeline.ingest.dedup import name_hashes
from pipeline.model.graph import load_base_model
from pipeline.shm.rows import RowBatch
from pipeline.simulation.run import Rehearsal
from pipeline.trainer.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from pipeline.corpus.table import Corpus
    from pipeline.demo.judge import Judge


class Learned(NamedTuple):
    """How the model that a node would use then did on the judged rows, after so many samples."""

    samples: int
    figures: Mapping[str, float]


class _Weights(NamedTuple):
    rehearsal: Rehearsal
    vector: npt.NDArray[np.float32]

    def predict(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self.rehearsal.predict(self.vector, features)


def alone(corpus: Corpus, target: str, base_model: Path, every: int, judge: Judge) -> list[Learned]:
    """Learn the rows of a node in their order; let the gate judge after each `every`, and in the end."""
    base = load_base_model(base_model)
    settings = replace(config.load({}), base_model=base_model, n_features=base.n_features)
    rehearsal = Rehearsal(Recipe.from_settings(settings), base, settings)
    rows = rows_of(corpus, target)
    before, learned = 0, []
    for done in rehearsal.replay(rows):
        if done // every > before // every or done == len(rows):
            rehearsal.training.evaluate()
            rehearsal.judge()
            vector = base.vector() if rehearsal.stable is None else rehearsal.stable
            learned.append(Learned(done, judge.figures(_Weights(rehearsal, vector))))
        before = done
    return learned


def rows_of(corpus: Corpus, target: str) -> RowBatch:
    """Return the samples that a fake node makes of a corpus: each a job, each encode of a source a group."""
    rows = RowBatch(len(corpus), corpus.features.shape[1])
    rows.features[:], rows.score[:] = corpus.features, corpus.target(target)
    names = map("{}/{}".format, corpus.source, corpus.clip)
    rows.group[:] = name_hashes(list(names))
    rows.job[:] = name_hashes(list(map(str, range(len(corpus)))))
    rows.arrival[:] = np.arange(len(corpus))
    return rows
