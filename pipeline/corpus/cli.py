"""`vmafx-sidecar corpus`: build corpora from videos, and pack small ones."""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from pipeline.config import parse_scale
from pipeline.console.mistakes import in_one_line
from pipeline.corpus.packed import pack, write_npz
from pipeline.corpus.pairs import Limits, Pair, find_pairs, parse_ladder
from pipeline.corpus.read import by_pattern, load_corpus
from pipeline.corpus.table import CorpusError
from pipeline.model.mos import Scale
from pipeline.runtime.extras import lacking

_LADDER = ("libx264:18,26,34,42", "libx265:22,30,38", "libsvtav1:25,40,55")
_SMOKE = ("lavfi:testsrc2=size=128x96", "lavfi:mandelbrot=size=128x96")
_SMOKE_LADDER = ("libx264:24,44",)
_SMOKE_FRAMES = 6
_file = click.Path(path_type=Path, dir_okay=False)
_corpus_path = click.Path(path_type=Path)


def _scale(_context: click.Context, _parameter: click.Parameter, text: str) -> Scale:
    try:
        return parse_scale(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: expected {error}") from None


def _names(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


features_option = click.option(
    "--features", default="", callback=_names,
    help="Columns that are features, separated by commas; patterns such as f* too.  [default: those that a .npz names; "
    "of other files adm2, vif_scale0, …, motion2]",
)  # fmt: skip
mos_range_option = click.option(
    "--mos-range", default="1-5", show_default=True, callback=_scale,
    help="Scale of a column mos or ground_truth_score, LOW-HIGH; its ends become 0 and 100. A .npz has 0-100 already.",
)  # fmt: skip


@click.group()
def corpus() -> None:
    """Make corpora: tables of frames with libvmaf's features and scores."""


@corpus.command(epilog="Example: vmafx-sidecar corpus build holiday.mp4 lavfi:testsrc2=size=640x360 -o corpus.parquet")
@click.argument("references", metavar="REF...", nargs=-1)
@click.option("-o", "--output", required=True, type=_file, help="The .parquet file to write.")
@click.option("--ladder", multiple=True, default=_LADDER, show_default=True, help="ENCODER:CRF,CRF,… once per encoder.")
@click.option(
    "--frames", default=100, show_default=True, type=click.IntRange(min=1), help="Maximum number of frames per video."
)
@click.option(
    "--height",
    default=540,
    show_default=True,
    type=click.IntRange(min=64),
    help="Maximum height; larger videos are scaled.",
)
@click.option("--yuv-size", default="1920x1080", show_default=True, help="WIDTHxHEIGHT of raw .yuv files.")
@click.option(
    "--cache",
    envvar="VMAF_TINY_AI_CACHE",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the scores so far, of one corpus or of all.  [default: VMAF_TINY_AI_CACHE, or OUTPUT.cache]",
)
@click.option(
    "--measure", multiple=True, metavar="FEATURE",
    help="One more feature for libvmaf to compute, such as psnr or float_ssim; can be given several times. All that it "
    "logs becomes columns.",
)  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Pairs scored at a time.  [default: the number of processors]")
@click.option("--smoke", is_flag=True, help="Use tiny generated sources instead of REF: a try in seconds.")
def build(
    references: tuple[str, ...], output: Path, ladder: tuple[str, ...], frames: int, height: int, yuv_size: str,
    cache: Path | None, measure: tuple[str, ...], jobs: int | None, smoke: bool,
) -> None:  # fmt: skip
    """Encode each REF with a ladder of encoders and CRFs, and score every frame with libvmaf.

    A REF is a video, raw .yuv, a photograph (panned over), lavfi:SOURCE, or a directory with ref/ and dis/, whose
    distorted files <source>_<quality>_<height>_<kbps>.yuv are scored as they are. A run that was stopped goes on where
    it was.
    """
    if smoke == bool(references):
        raise click.UsageError("give either REF or --smoke")
    if smoke:
        references, ladder, frames = _SMOKE, _SMOKE_LADDER, _SMOKE_FRAMES
    with in_one_line(CorpusError):
        limits = Limits(frames, height, yuv_size, measure)
        pairs = find_pairs(references, parse_ladder(ladder), limits)
        rows = _build(pairs, limits, cache or output.with_suffix(".cache"), jobs, output)
        summary = load_corpus(output)
    click.echo(f"{output}: {rows} frames, {len(pairs)} clips of {len(summary.sources())} sources")
    for name, score in summary.targets.items():
        low, middle, high = np.quantile(score, [0.05, 0.5, 0.95])
        click.echo(f"{name}: median {middle:.1f}, 5 % {low:.1f}, 95 % {high:.1f}")


def _build(pairs: Sequence[Pair], limits: Limits, cache: Path, jobs: int | None, output: Path) -> int:
    """Score the pairs behind a progress bar, write the table and return its length."""
    if reason := lacking("corpus", "building a corpus"):
        raise CorpusError(reason)
    from rich.progress import Progress

    from pipeline.corpus.build import default_jobs, score_all, write_parquet

    with Progress() as progress:
        task = progress.add_task(f"{len(pairs)} pairs", total=len(pairs))
        scored = score_all(pairs, limits, cache, jobs or default_jobs(), lambda _: progress.advance(task))
    return write_parquet(output, pairs, scored)


@corpus.command(
    "pack", epilog="Example: vmafx-sidecar corpus pack frames.parquet --stream bikes,cars --judge plane -o corpus.npz"
)
@click.argument("corpus_file", metavar="CORPUS", type=_corpus_path)
@click.option("--stream", required=True, help="Sources to stream, separated by commas.")
@click.option("--judge", required=True, help="Other sources, to judge on, separated by commas.")
@click.option("--every", default=2, show_default=True, type=click.IntRange(min=1), help="Keep every n-th frame.")
@click.option("--seed", default=0, show_default=True, help="Seed of the order of the clips.")
@features_option
@click.option("--target", "targets", multiple=True, help="One more score to pack; can be given several times.")
@mos_range_option
@click.option("-o", "--output", required=True, type=_file, help="The .npz file to write.")
def pack_command(
    corpus_file: Path, stream: str, judge: str, every: int, seed: int, features: tuple[str, ...],
    targets: tuple[str, ...], mos_range: Scale, output: Path,
) -> None:  # fmt: skip
    """Pack whole sources of CORPUS into a small .npz that is read with numpy alone."""
    with in_one_line(CorpusError):
        corpus = load_corpus(corpus_file, by_pattern(features), targets, mos_range)
        for name in targets:
            corpus.target(name)
        packed = pack(corpus, stream.split(","), judge.split(","), every, seed)
        write_npz(output, packed)
    sent = int((packed.part == "stream").sum())
    click.echo(f"{output}: {sent} rows to send, {len(packed) - sent} to judge by, {output.stat().st_size} bytes")
