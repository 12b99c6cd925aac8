"""The operator's fixture as a file: when it is read, and what makes it one that cannot be used."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus, CorpusError
from pipeline.data import CORPUS
from pipeline.exporter.fixture import Fixture


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a fixture that can be used."""
    return Path(shutil.copy(CORPUS, tmp_path / "fixture.npz"))


def write_csv(path: Path, corpus: Corpus) -> None:
    """Write the columns that a fixture needs as text."""
    lines = ["adm2,vif_scale0,vif_scale1,vif_scale2,vif_scale3,motion2,vmaf,source"]
    for row, score, source in zip(corpus.features.tolist(), corpus.target("vmaf"), corpus.source, strict=True):
        lines.append(",".join([*map(repr, row), repr(float(score)), str(source)]))
    path.write_text("\n".join(lines) + "\n")


def test_a_fixture_in_csv_is_the_same_as_in_npz(tmp_path: Path) -> None:
    """The same rows, in the same groups."""
    write_csv(tmp_path / "fixture.csv", load_corpus(CORPUS))
    binary, text = (Fixture(path, "vmaf", 6).rows() for path in (CORPUS, tmp_path / "fixture.csv"))
    for field in ("features", "score", "group"):
        np.testing.assert_array_equal(getattr(text, field), getattr(binary, field))


def test_a_fixture_that_changes_is_read_again(path: Path) -> None:
    """The same file gives the same rows; a removed one is a problem, and once it is back it is read."""
    fixture = Fixture(path, "vmaf", 6)
    rows = fixture.rows()
    assert fixture.rows() is rows
    assert fixture.problem() == ""
    path.unlink()
    with pytest.raises(CorpusError, match=r"^VMAFX_SIDECAR_FIXTURE: .*fixture\.npz: no such file$"):
        fixture.rows()
    shutil.copy(CORPUS, path)
    os.utime(path, ns=(1, 1))
    assert fixture.problem() == ""
    assert fixture.rows() is not rows


def test_a_broken_file_is_read_again_when_it_changes_or_after_a_while(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each look, which may be costly; but a read error that passes by itself is no problem for ever."""
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    reads: list[Path] = []

    def counted(path: Path, *how: Any) -> Corpus:
        reads.append(path)
        return load_corpus(path, *how)

    monkeypatch.setattr("pipeline.exporter.fixture.load_corpus", counted)
    fixture = Fixture(path, "vmaf", 6)
    assert "not a corpus in .npz format" in fixture.problem()
    assert "not a corpus in .npz format" in fixture.problem()
    assert len(reads) == 1
    monkeypatch.setattr("pipeline.exporter.fixture._RETRY_S", 0.0)
    fixture.problem()
    assert len(reads) == 2
    monkeypatch.undo()
    path.write_bytes(whole)
    assert fixture.problem() == ""


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The setting, the file, and what was expected."""
    assert Fixture(CORPUS, "vmaf", 80).problem() == (
        f"VMAFX_SIDECAR_FIXTURE: {CORPUS}: rows of 6 features; the model takes 80"
    )
    assert Fixture(CORPUS, "mos", 6).problem() == (
        f"VMAFX_SIDECAR_FIXTURE_TARGET: {CORPUS}: no target 'mos' in this corpus; it has vmaf, vmaf_neg, vmaf_phone"
    )
    corpus = load_corpus(CORPUS)
    three = corpus.rows(corpus.mask_of(corpus.sources()[:3]))
    write_npz(tmp_path / "few.npz", three)
    assert Fixture(tmp_path / "few.npz", "vmaf", 6).problem() == (
        f"VMAFX_SIDECAR_FIXTURE: {tmp_path / 'few.npz'}: {len(three)} rows of 3 groups; "
        "at least 100 rows of 4 groups needed"
    )


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the image."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "fixture.parquet").touch()
    assert (
        "needs pyarrow (pip install 'vmafx-sidecar[corpus]')"
        in Fixture(tmp_path / "fixture.parquet", "vmaf", 6).problem()
    )
