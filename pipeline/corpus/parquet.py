"""Corpora as Parquet, by way of pyarrow, which is optional: the extra `corpus` brings it."""

from pathlib import Path

from pipeline.corpus.table import COLUMNS, Corpus, CorpusError, corpus_from_columns
from pipeline.runtime.extras import lacking


def read_parquet(path: Path) -> Corpus:
    """Read the columns of a corpus; others are ignored. Raises CorpusError."""
    if reason := lacking("corpus", ".parquet"):
        raise CorpusError(f"{path}: {reason}; .npz and .csv do not")
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: {str(error).splitlines()[0]}") from error
    present = [name for name in COLUMNS if name in table.column_names]
    return corpus_from_columns({name: table[name].to_numpy() for name in present}, path)
