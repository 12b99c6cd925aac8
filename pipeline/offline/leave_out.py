"""Every source left out in turn: each row is predicted by the model that never saw its source."""

from collections.abc import Sequence

import numpy as np

from pipeline.corpus.table import Corpus
from pipeline.offline.candidate import Candidate, latency
from pipeline.offline.train import Trained


def out_of_fold(name: str, folds: Sequence[Trained], corpus: Corpus) -> Candidate:
    """Join the folds' predictions on what each left out; latency and size are those of the first fold's model."""
    predicted = np.full(len(corpus), np.nan, np.float32)
    for trained in folds:
        rows = corpus.mask_of(trained.left_out)
        predicted[rows] = trained.runtime().predict(corpus.features[rows])
    first = folds[0]
    return Candidate(
        name, predicted, *latency(first.runtime(), corpus.features[:1]), len(first.model.SerializeToString())
    )
