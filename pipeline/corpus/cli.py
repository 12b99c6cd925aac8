"""`vmafx-sidecar corpus`: build corpora from videos, and pack small ones."""

from pathlib import Path

import click

from pipeline.corpus.table import CorpusError


@click.group()
def corpus() -> None:
    """Make corpora: tables of frames with libvmaf's features and scores."""


@corpus.command(
    "pack", epilog="Example: vmafx-sidecar corpus pack frames.parquet --stream bikes,cars --judge plane -o corpus.npz"
)
@click.argument("corpus_file", metavar="CORPUS", type=click.Path(path_type=Path))
@click.option("--stream", required=True, help="Sources to send, separated by commas.")
@click.option("--judge", required=True, help="Other sources, to judge by, separated by commas.")
@click.option("--every", default=2, show_default=True, type=click.IntRange(min=1), help="Keep every n-th frame.")
@click.option("--seed", default=0, show_default=True, help="Of the order of the clips.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .npz to write.")
def pack_command(corpus_file: Path, stream: str, judge: str, every: int, seed: int, output: Path) -> None:
    """Pack whole sources of CORPUS into a small .npz that is read with numpy alone."""
    from pipeline.corpus.npz import write_npz
    from pipeline.corpus.pack import pack
    from pipeline.corpus.table import load_corpus

    try:
        packed = pack(load_corpus(corpus_file), stream.split(","), judge.split(","), every, seed)
    except CorpusError as error:
        raise click.ClickException(str(error)) from error
    write_npz(output, packed)
    sent = int((packed.part == "stream").sum())
    click.echo(f"{output}: {sent} rows to send, {len(packed) - sent} to judge by, {output.stat().st_size} bytes")
