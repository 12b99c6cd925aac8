"""Corpora of any columns: what is a feature, what is a score, and what is said where a name is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from pipeline import data
from pipeline.corpus.cli import corpus as corpus_command
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import by_pattern, load_corpus, of_models
from pipeline.corpus.table import CorpusError
from pipeline.model.features import SIX, Features

N = 8
ABOUT: dict[str, Any] = {
    "source": ["a", "b"] * (N // 2),
    "clip_id": [0, 1] * (N // 2),
    "codec": ["libx264"] * N,
    "preset": ["medium", "slow"] * (N // 2),
    "crf": [20, 30] * (N // 2),
}


def table(names: tuple[str, ...], **more: Any) -> pa.Table:
    """Return rows with these features, each row's first value its number, and a score."""
    features = {name: np.arange(N) + 0.001 * place for place, name in enumerate(names)}
    return pa.table({**features, **ABOUT, "vmaf": np.linspace(0, 100, N), **more})


def written(directory: Path, rows: pa.Table, name: str = "rows.parquet") -> Path:
    """Write a table as Parquet, or as text."""
    path = directory / name
    if path.suffix == ".csv":
        lines = [",".join(rows.column_names), *(",".join(map(str, row.values())) for row in rows.to_pylist())]
        path.write_text("\n".join(lines))
    else:
        parquet.write_table(rows, path)
    return path


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv"])
def test_columns_are_taken_by_name_in_the_order_that_is_asked_for(tmp_path: Path, name: str) -> None:
    """Whatever their order in the file; the others are left."""
    path = written(tmp_path, table(("f2", "psnr_y", "f10", "f1")), name)
    taken = Features.of(["f1", "f2"])
    assert load_corpus(path, of_models([taken])).features[3].tolist() == pytest.approx([3.003, 3.0])
    patterned = load_corpus(path, by_pattern(["psnr_y", "f?"]))
    assert patterned.names == ("psnr_y", "f2", "f1")
    assert patterned.features[2].tolist() == pytest.approx([2.001, 2.0, 2.003])


def test_fixed_point_columns_are_the_six(tmp_path: Path) -> None:
    """As libvmaf logs them."""
    corpus = load_corpus(written(tmp_path, table(tuple(f"integer_{name}" for name in SIX))))
    assert corpus.names == SIX
    assert corpus.features[1].tolist() == pytest.approx([1 + 0.001 * place for place in range(6)])


def test_a_packed_corpus_keeps_all_that_it_was_made_of(tmp_path: Path) -> None:
    """Names, codec details and other scores; a subjective one is not scaled a second time."""
    path = written(tmp_path, table(("x", "y"), psnr_y=np.linspace(30, 50, N), mos=[2.0, 4.0] * (N // 2)))
    options = ["--stream", "a", "--judge", "b", "--every", "1", "--features", "x,y", "--target", "psnr_y"]
    packed = tmp_path / "packed.npz"
    result = CliRunner().invoke(corpus_command, ["pack", str(path), *options, "--target", "mos", "-o", str(packed)])
    assert result.exit_code == 0, result.output
    corpus = load_corpus(packed, targets=["psnr_y", "mos"])
    assert corpus.names == ("x", "y")
    assert set(corpus.details["preset"][corpus.source == "b"]) == {"slow"}
    assert set(corpus.details["crf"][corpus.source == "a"]) == {20}
    assert set(corpus.target("mos")[corpus.source == "b"]) == {75}
    assert corpus.target("psnr_y").max() == 50


def test_packed_corpora_of_before_are_read(tmp_path: Path) -> None:
    """Without names: six features are libvmaf's, others are counted; the shipped corpus is such a file."""
    with np.load(data.CORPUS) as file:
        arrays = dict(file)
    assert "feature_names" not in arrays
    assert load_corpus(data.CORPUS).names == SIX
    np.savez(tmp_path / "wide.npz", **{**arrays, "features": arrays["features"].repeat(2, axis=1)})
    assert load_corpus(tmp_path / "wide.npz").names == tuple(f"f{i}" for i in range(12))


def test_a_cache_of_before_is_found() -> None:
    """Its keys do not change where nothing more is measured."""
    from pipeline.corpus.build import key_of
    from pipeline.corpus.pairs import Limits, Pair, Rung, Video

    pair = Pair("a", Video("a", ("-i", "a"), "lavfi:a"), Rung("libx264", 20))
    assert key_of(pair, Limits(3, 540, "96x80"), "ffmpeg version 7") == "8f01e866c574324c"
    assert key_of(pair, Limits(3, 540, "96x80", ("psnr",)), "ffmpeg version 7") != "8f01e866c574324c"


@pytest.mark.parametrize("crf", [["cq20"] * N, [None] * N])
def test_a_crf_that_is_no_number_is_no_obstacle(tmp_path: Path, crf: list[Any]) -> None:
    """As for corpora of before, of which it was not read; a model that takes it is told that there is none."""
    rows = table(SIX)
    path = written(tmp_path, rows.set_column(rows.column_names.index("crf"), "crf", pa.array(crf)))
    corpus = load_corpus(path)
    assert len(corpus) == N
    with pytest.raises(CorpusError, match=r"m\.onnx: no column for crf, 1 of 2 features; there is adm2"):
        corpus.inputs(Features.of(["adm2", "crf_norm"], model="m.onnx"))


def test_opinions_are_of_clips_and_scaled(tmp_path: Path) -> None:
    """1 to 5 becomes 0 to 100, in all frames of a clip, also those that do not repeat it; another clip has none."""
    nan = float("nan")
    path = written(tmp_path, table(SIX, mos=[4.0, nan, nan, nan, 4.0, nan, nan, nan]))
    corpus = load_corpus(path, targets=["mos"])
    assert corpus.target("mos")[::2].tolist() == [75.0] * 4
    assert np.isnan(corpus.target("mos")[1::2]).all()
    assert len(corpus.with_score("mos")) == N // 2
    assert load_corpus(path, targets=["mos"], mos_range=(0, 100)).target("mos")[0] == 4


@pytest.mark.parametrize(
    ("columns", "target", "reason"),
    [
        ({"mos": [4.0, 6.0] * 4}, "mos", "column mos, row 1: 6 is outside the scale 1-5"),
        ({"mos": [4.0, 3.0, 5.0, 3.0] * 2}, "mos", "column mos, row .: clip 0 has several scores, expected one a clip"),
        ({"psnr_y": [40.0, float("nan")] * 4}, "psnr_y", "column psnr_y, row 1: nan is not a finite number"),
    ],
)
def test_scores_that_cannot_be_used_are_named(
    tmp_path: Path, columns: dict[str, Any], target: str, reason: str
) -> None:
    """With the file, the column and the row; where they are not asked for, they are no obstacle."""
    path = written(tmp_path, table(SIX, **columns))
    with pytest.raises(CorpusError, match=f"rows.parquet: {reason}"):
        load_corpus(path, targets=[target])
    assert len(load_corpus(path)) == N


def test_a_pattern_without_a_match_is_named(tmp_path: Path) -> None:
    """With what there is."""
    path = written(tmp_path, table(("x",)))
    with pytest.raises(CorpusError, match=r"rows.parquet: no column f\*; there is x, source"):
        load_corpus(path, by_pattern(["f*"]))
    with pytest.raises(CorpusError, match=r"no column for adm2.*; there is .*x; --features names others"):
        load_corpus(path, by_pattern([]))


def test_a_directory_is_one_corpus(tmp_path: Path) -> None:
    """Of files of any format; clips of the same number in two files are two clips."""
    written(tmp_path, table(SIX), "a.parquet")
    written(tmp_path, table(SIX[::-1]), "b.csv")
    (tmp_path / "notes.txt").write_text("no corpus")
    corpus = load_corpus(tmp_path)
    assert len(corpus) == 2 * N
    assert np.unique(corpus.clip).tolist() == [0, 1, 2, 3]
    assert corpus.features[N + 3].tolist() == pytest.approx(corpus.features[3][::-1].tolist())


def test_a_directory_of_mixed_widths_names_the_file(tmp_path: Path) -> None:
    """And what it lacks; a score that only some have is named too, and a directory without a corpus."""
    with pytest.raises(CorpusError, match=r"no file in it is a corpus: \.npz, \.csv, \.parquet"):
        load_corpus(tmp_path)
    write_npz(tmp_path / "a.npz", load_corpus(written(tmp_path, table(SIX, vmaf_neg=[1.0] * N), "z.parquet")))
    written(tmp_path, table(("f0", "f1")), "b.parquet")
    with pytest.raises(CorpusError, match=r"b.parquet: no column for adm2, .*, 6 of 6 features; there is clip_id"):
        load_corpus(tmp_path)
    written(tmp_path, table(SIX), "b.parquet")
    with pytest.raises(CorpusError, match=r"b.parquet: no score vmaf_neg, which a.npz or the command asks for"):
        load_corpus(tmp_path)
