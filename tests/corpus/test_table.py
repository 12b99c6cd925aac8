"""Reading corpora: every format gives the same rows, and what cannot be read is named."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import csv, parquet

from pipeline import data
from pipeline.corpus.cli import corpus as corpus_command
from pipeline.corpus.packed import write_npz
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import FEATURES, TARGETS, Corpus, CorpusError


def columns(n: int = 4) -> dict[str, list[float] | list[str] | list[int]]:
    """Return the smallest complete table."""
    numbers = {name: [0.5 + 0.1 * row for row in range(n)] for name in (*FEATURES, *TARGETS)}
    return {**numbers, "source": ["a", "b"] * (n // 2), "clip_id": [0, 1] * (n // 2), "frame": list(range(n))}


def test_shipped_corpus_keeps_its_parts_apart() -> None:
    """No source of the shipped corpus is both sent and used for judging, and all of it is in range."""
    corpus = load_corpus(data.CORPUS)
    sent, judged = corpus.only("stream"), corpus.only("judge")
    assert len(sent) + len(judged) == len(corpus)
    assert not set(sent.sources()) & set(judged.sources())
    assert len(judged.sources()) >= 4
    for name in TARGETS:
        assert corpus.target(name).min() >= 0
        assert corpus.target(name).max() <= 100
    assert data.CORPUS.stat().st_size < 1_000_000


def test_frames_of_a_packed_clip_are_in_order() -> None:
    """Clips are shuffled as wholes: each is one run of rows with rising frame numbers."""
    corpus = load_corpus(data.CORPUS)
    starts = np.flatnonzero(np.diff(corpus.clip, prepend=-1))
    assert len(starts) == len(np.unique(corpus.clip))
    assert all(np.diff(frames).min() > 0 for frames in np.split(corpus.frame, starts[1:]))
    assert np.any(np.diff(corpus.clip[starts]) < 0)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    """The same rows come back from Parquet, from CSV, and from the .npz that was made of them."""
    table, path = pa.table(columns()), tmp_path / f"corpus{suffix}"
    if suffix == ".csv":
        csv.write_csv(table, path)
    else:
        parquet.write_table(table, path)
    corpus = load_corpus(path)
    write_npz(tmp_path / "corpus.npz", corpus)
    again = load_corpus(tmp_path / "corpus.npz")
    for read in (corpus, again):
        assert read.features.dtype == np.float32
        np.testing.assert_array_equal(read.features, np.array([[0.5 + 0.1 * row] * 6 for row in range(4)], np.float32))
        assert read.source.tolist() == ["a", "b", "a", "b"]
        assert read.codec.tolist() == ["unknown"] * 4


def as_csv(*, heading: str = ",".join(columns()), rows: int = 4, line: str = "") -> str:
    """Return a table as text, with a heading of its own and one more line at its end."""
    table = columns(rows).values()
    return "\n".join([heading, *(",".join(map(str, row)) for row in zip(*table, strict=True)), line]) + "\n"


def test_a_csv_is_read_without_pyarrow(tmp_path: Path) -> None:
    """As in the image; a mark of byte order, a quoted name, an unknown column and an empty line are no obstacle."""
    path = tmp_path / "corpus.csv"
    text = as_csv().strip().replace("source", '"source"').replace("\n", ",\r\n").replace("frame,", "frame,remark")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b",\r\n\r\n")
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path; from pipeline.corpus.read import load_corpus\n"
        "found = load_corpus(Path(sys.argv[1])); print(len(found), found.sources(), found.clip.tolist())"
    )
    ran = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert ran.stdout == "4 ['a', 'b'] [0, 1, 0, 1]\n", ran.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "column source is missing; there is none"),
        (as_csv(line="0.5,0.5"), "line 6 has 2 values, the heading 12 names"),
        (
            as_csv(heading=",".join(columns()).replace("motion2", "motion")),
            "no column for motion2, 1 of 6 features; there is adm2, ",
        ),
        (as_csv(rows=0), "no rows"),
        (as_csv().replace("0.6,0.6", "0.6,", 1), "column vif_scale0 is not numeric"),
        (as_csv().replace("0.6,0.6", "0.6,nan", 1), "column vif_scale0, row 1: nan is not a finite number"),
        (as_csv().replace(",a,0,0", ",a,0.5,0"), "column clip_id does not hold whole numbers"),
    ],
)
def test_what_is_wrong_with_a_csv_is_named(tmp_path: Path, text: str, reason: str) -> None:
    """The message names the file and the line or the column."""
    path = tmp_path / "corpus.csv"
    path.write_text(text)
    with pytest.raises(CorpusError, match=f"corpus.csv: {reason}"):
        load_corpus(path)


def write_parquet(path: Path, **changes: list[object] | None) -> None:
    """Write a table with columns replaced, or left out where None."""
    table = {**columns(), **changes}
    parquet.write_table(pa.table({name: values for name, values in table.items() if values is not None}), path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"adm2": None, "motion2": None}, "no column for adm2, motion2, 2 of 6 features; there is clip_id"),
        ({"vmaf": None, "vmaf_neg": None, "vmaf_phone": None}, "no score"),
        ({"vif_scale1": [0.1, float("nan"), 0.1, 0.1]}, "column vif_scale1, row 1"),
        ({"vmaf": ["x"] * 4}, "column vmaf is not numeric"),
        ({name: [] for name in columns()}, "no rows"),
    ],
)
def test_unusable_columns_are_named(tmp_path: Path, changes: dict[str, list[object]], reason: str) -> None:
    """The message names the file, the column and the row."""
    path = tmp_path / "corpus.parquet"
    write_parquet(path, **changes)
    with pytest.raises(CorpusError, match=f"corpus.parquet: {reason}"):
        load_corpus(path)


def npy() -> bytes:
    """Return a single array in numpy's format: not an archive of them."""
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("name", ["corpus.npz", "corpus.parquet", "corpus.csv"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"\x00" * 64, npy()])
def test_broken_files_are_one_error(tmp_path: Path, name: str, content: bytes) -> None:
    """Bytes of no known format end in a CorpusError, whatever the suffix says."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=name):
        load_corpus(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    """An .npz with a pickled object is not unpickled."""
    path = tmp_path / "corpus.npz"
    np.savez(path, features=np.zeros((1, 6)), source=np.array([{"a": 1}], dtype=object))
    with pytest.raises(CorpusError, match="pickle"):
        load_corpus(path)


@pytest.mark.parametrize(("key", "array"), [("features", np.zeros((4, 5))), ("source", np.array([9] * 4))])
def test_inconsistent_npz_is_refused(tmp_path: Path, key: str, array: npt.NDArray[np.float64]) -> None:
    """A wrong width or an index out of its table of names is found."""
    path, corpus = tmp_path / "corpus.npz", small()
    write_npz(path, corpus)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, key: array})
    with pytest.raises(CorpusError, match=key):
        load_corpus(path)


def small() -> Corpus:
    """Return 27 rows of the shipped corpus."""
    return load_corpus(data.CORPUS).rows(slice(0, None, 1017))


@pytest.mark.parametrize(
    ("judge", "reason"), [("bottle", "is in both parts"), ("nosuch", "no source nosuch in this corpus; it has")]
)
def test_pack_refuses_sources_it_cannot_part(tmp_path: Path, judge: str, reason: str) -> None:
    """A source that is sent cannot judge, and an unknown one is named."""
    arguments = [str(data.CORPUS), "--stream", "bottle", "--judge", judge, "-o", str(tmp_path / "out.npz")]
    result = CliRunner().invoke(corpus_command, ["pack", *arguments])
    assert result.exit_code == 1
    assert reason in result.output


def test_shipped_corpus_is_what_its_command_makes(shared_data: Path, tmp_path: Path) -> None:
    """The command in the README of the data makes the shipped file again, row for row."""
    shipped = load_corpus(data.CORPUS)
    sources = [",".join(shipped.only(part).sources()) for part in ("stream", "judge")]
    output = tmp_path / "corpus.npz"
    options = ["--stream", sources[0], "--judge", sources[1], "-o", str(output)]
    result = CliRunner().invoke(corpus_command, ["pack", str(shared_data / "vmaf_frames.parquet"), *options])
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(load_corpus(output).features, shipped.features)
    np.testing.assert_array_equal(load_corpus(output).frame, shipped.frame)
