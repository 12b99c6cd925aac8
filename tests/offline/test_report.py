"""Figures of agreement: their groups, and intervals that respect clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model import accuracy
from pipeline.offline.report import OWNERS, by_group


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Return every fortieth frame of the shipped corpus."""
    return load_corpus(data.CORPUS).rows(slice(0, None, 40))


def test_groups_part_the_rows(corpus: Corpus) -> None:
    """The groups of each kind cover every row once, and each figure is that of its own rows."""
    predicted = corpus.target("vmaf_neg")
    groups = by_group(predicted, corpus, "vmaf", resamples=0)
    for kind in ("overall", "source", "codec", "band"):
        assert sum(group.rows for group in groups if group.kind == kind) == len(corpus)
    one = next(group for group in groups if group.kind == "source" and group.name == "cars")
    rows = corpus.source == "cars"
    assert one.figures["rmse"].value == accuracy.rmse(predicted[rows], corpus.target("vmaf")[rows])


def test_owners_are_groups_where_the_corpus_names_them(tmp_path: Path, corpus: Corpus) -> None:
    """Height, node and tenant, packed and read again; who names none is in no such group, and no column gives none."""
    n = len(corpus)
    node = np.resize(["n1", "n2", ""], n)
    height = np.resize(np.array([240, 1080, np.nan, 540], np.float32), n)
    write_npz(tmp_path / "owned.npz", replace(corpus, details={"height": height, "node_id": node}))
    owned = load_corpus(tmp_path / "owned.npz")
    groups = by_group(owned.target("vmaf_neg"), owned, "vmaf", resamples=0)
    found = {(group.kind, group.name): group for group in groups if group.kind in OWNERS}
    assert list(found) == [("height", "240"), ("height", "540"), ("height", "1080"), ("node", "n1"), ("node", "n2")]
    rows = node == "n2"
    assert found["node", "n2"].rows == rows.sum()
    expected = accuracy.rmse(corpus.target("vmaf_neg")[rows], corpus.target("vmaf")[rows])
    assert found["node", "n2"].figures["rmse"].value == pytest.approx(expected)
    plain = by_group(corpus.target("vmaf_neg"), corpus, "vmaf", resamples=0)
    assert not {group.kind for group in plain} & set(OWNERS)


def test_intervals_hold_the_value_and_widen_with_fewer_clips(corpus: Corpus) -> None:
    """An interval surrounds its figure, and rows of a few clips give a wider one than rows of many."""
    few = corpus.rows(np.isin(corpus.clip, np.unique(corpus.clip)[::20]))
    wide, narrow = (
        by_group(part.target("vmaf_phone"), part, "vmaf", resamples=100)[0].figures["rmse"] for part in (few, corpus)
    )
    assert narrow.low < narrow.value < narrow.high
    assert wide.high - wide.low > narrow.high - narrow.low


def test_clips_are_drawn_whole() -> None:
    """Where all frames of a clip have one error, drawing frames would understate the interval; drawing clips does not.

    Of two clips with errors 0 and 10, a draw is both of one, or one of each: the interval spans all of it.
    """
    n = 50
    corpus = Corpus(
        features=np.zeros((2 * n, 6), np.float32),
        targets={"vmaf": np.zeros(2 * n, np.float32)},
        source=np.full(2 * n, "a"),
        clip=np.repeat([0, 1], n),
        frame=np.tile(np.arange(n), 2),
        codec=np.full(2 * n, "x"),
        part=np.full(2 * n, ""),
    )
    predicted = np.repeat(np.float32([0, 10]), n)  # type: ignore[arg-type]
    figure = by_group(predicted, corpus, "vmaf", resamples=100)[0].figures["mae"]
    assert (figure.low, figure.value, figure.high) == (0, 5, 10)
    alone = corpus.rows(slice(0, n))
    figure = by_group(predicted[:n], alone, "vmaf", resamples=100)[0].figures["mae"]
    assert figure.value == 0
    assert np.isnan(figure.low), "one clip tells no spread"
