"""A committee teaches one network: what it is asked about, and what it says where one member is far off."""

import numpy as np
import pytest
import torch

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.offline.distil import lessons
from pipeline.offline.ensemble import Ensemble, Member, members
from pipeline.offline.fit import SCALE, Fit, Recipe

WIDTHS = (6, 16, 8, 1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Return every twentieth frame of the shipped corpus."""
    return load_corpus(data.CORPUS).rows(slice(0, None, 20))


def committees(corpus: Corpus, folds: int, seeds: int) -> tuple[Fit, list[Member]]:
    """Return untrained committees of `seeds` members for the first sources left out."""
    everyone = members(corpus, [(source,) for source in corpus.sources()[:folds]], range(seeds))
    return Fit(Ensemble(WIDTHS), everyone, corpus.features, corpus.target("vmaf"), Recipe(0.01)), everyone


def test_one_member_that_is_far_off_is_not_heard(corpus: Corpus) -> None:
    """With one of four members at a constant million, the committee says what lies between the other three."""
    committee, everyone = committees(corpus, 1, 4)
    committee.best[3] = 0
    committee.best[3, -1] = 1e6
    taught = lessons(committee, everyone, corpus.features, 4)
    said = SCALE * committee.predict(slice(0, 3), torch.from_numpy(taught.features)).numpy()
    assert bool((taught.scores >= said.min(axis=0) - 1e-3).all())
    assert bool((taught.scores <= said.max(axis=0) + 1e-3).all())


def test_students_are_shown_nothing_of_the_source_left_out(corpus: Corpus) -> None:
    """Each fold's students share rows of their own: those that the fold sees, mixtures of them, and no others."""
    committee, everyone = committees(corpus, 3, 6)
    taught = lessons(committee, everyone, corpus.features, 6)
    assert taught.a_fold == 2
    assert [student.left_out for student in taught.students] == [
        (source,) for source in corpus.sources()[:3] for _ in range(2)
    ]
    for first, second in zip(taught.students[::2], taught.students[1::2], strict=True):
        seen = corpus.features[~corpus.mask_of(first.left_out)]
        np.testing.assert_array_equal(first.training, second.training)
        np.testing.assert_array_equal(taught.features[first.training[: len(seen)]], seen)
        assert len(first.training) == 2 * len(seen)
        mixed = taught.features[first.training[len(seen) :]]
        reach = seen.max(axis=0) - seen.min(axis=0)
        assert bool((mixed > seen.min(axis=0) - reach).all())
        assert bool((mixed < seen.max(axis=0) + reach).all())
    own = [set(student.training) | set(student.validation) for student in taught.students[::2]]
    assert sum(map(len, own)) == len(set.union(*own)) == len(taught.features)


def test_lessons_are_drawn_by_the_seeds(corpus: Corpus) -> None:
    """The same seeds ask about the same rows: a training that was stopped goes on with the same lessons."""
    committee, everyone = committees(corpus, 1, 2)
    once, again = (lessons(committee, everyone, corpus.features, 2) for _ in range(2))
    np.testing.assert_array_equal(once.features, again.features)
    np.testing.assert_array_equal(once.scores, again.scores)
