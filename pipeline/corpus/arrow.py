"""Corpora as Parquet or CSV, by way of pyarrow, which is optional: the extra `corpus` brings it."""

from pathlib import Path

from pipeline.corpus.table import FEATURES, TARGETS, Corpus, CorpusError, corpus_from_columns

COLUMNS = (*FEATURES, *TARGETS, "source", "clip_id", "codec", "frame", "part")


def read_arrow(path: Path) -> Corpus:
    """Read the columns of a corpus from `.parquet` or `.csv`; others are ignored. Raises CorpusError."""
    try:
        import pyarrow
        from pyarrow import csv, parquet
    except ImportError as error:
        raise CorpusError(
            f"{path}: {path.suffix} needs pyarrow (pip install 'vmafx-sidecar[corpus]'); .npz does not"
        ) from error
    try:
        table = parquet.read_table(path) if path.suffix == ".parquet" else csv.read_csv(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: {str(error).splitlines()[0]}") from error
    present = [name for name in COLUMNS if name in table.column_names]
    return corpus_from_columns({name: table[name].to_numpy() for name in present}, path)
