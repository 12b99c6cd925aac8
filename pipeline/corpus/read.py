"""Reads a corpus in whichever format its file has."""

from pathlib import Path

from pipeline.corpus.table import Corpus, CorpusError


def load_corpus(path: Path) -> Corpus:
    """Read `.npz` or `.csv`, or `.parquet`, which needs pyarrow. Raises CorpusError."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    if path.suffix == ".npz":
        from pipeline.corpus.npz import read_npz

        return read_npz(path)
    if path.suffix == ".csv":
        from pipeline.corpus.text import read_csv

        return read_csv(path)
    if path.suffix == ".parquet":
        from pipeline.corpus.parquet import read_parquet

        return read_parquet(path)
    raise CorpusError(f"{path}: a corpus is a .npz, .parquet or .csv file, not {path.suffix or 'without suffix'}")
