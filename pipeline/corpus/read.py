"""Reads a corpus in whichever format its file has."""

from pathlib import Path

from pipeline.corpus.table import Corpus, CorpusError


def load_corpus(path: Path) -> Corpus:
    """Read `.npz` with numpy alone; `.parquet` and `.csv` need pyarrow. Raises CorpusError."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    if path.suffix == ".npz":
        from pipeline.corpus.npz import read_npz

        return read_npz(path)
    if path.suffix in {".parquet", ".csv"}:
        from pipeline.corpus.arrow import read_arrow

        return read_arrow(path)
    raise CorpusError(f"{path}: a corpus is a .npz, .parquet or .csv file, not {path.suffix or 'without suffix'}")
