"""`vmafx-sidecar encode`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from pipeline.console.target import base_model_of, settings_of
from pipeline.encode.measure import MODELS
from pipeline.encode.plan import GENERATED, GENERATED_LADDER, in_turn

_PATH = click.Path(path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_MODEL = click.Path(exists=True, dir_okay=False, path_type=Path)
_LADDER = ("libx264:18,26,34,42", "libx265:22,30,38", "libsvtav1:25,40,55")


@click.command(epilog="Example: vmafx-sidecar encode holiday.mp4 concert.mkv --target vmaf_neg --logs logs")
@click.argument("references", metavar="[REF]...", nargs=-1)
@click.option("--target", type=click.Choice(list(MODELS)), default="vmaf", show_default=True, help="What to learn.")
@click.option("--ladder", multiple=True, help="ENCODER:CRF,CRF,… once per encoder.  [default: three encoders]")
@click.option("--frames", default=50, show_default=True, type=click.IntRange(min=1), help="Of each video, at most.")
@click.option("--height", default=540, show_default=True, type=click.IntRange(min=64), help="Larger ones are scaled.")
@click.option("--yuv-size", default="1920x1080", show_default=True, help="WIDTHxHEIGHT of raw .yuv files.")
@click.option("--socket", type=_PATH, help="Where the sidecar listens.  [default: VMAFX_SIDECAR_SOCKET]")
@click.option("--checkpoint-dir", type=_DIRECTORY, help="Its checkpoints.  [default: VMAFX_SIDECAR_CHECKPOINT_DIR]")
@click.option(
    "--base-model", type=_MODEL, help="The node's own model.  [default: VMAFX_BASE_MODEL_PATH, or the bundled]"
)
@click.option("--own-sidecar", is_flag=True, help="Start a sidecar for as long as this runs.")
@click.option("--logs", type=_DIRECTORY, help="Keep libvmaf's logs here.")
@click.option("--seconds", type=click.FloatRange(min=1), help="Begin no encode after so long.")
def encode(
    references: tuple[str, ...], target: str, ladder: tuple[str, ...], frames: int, height: int, yuv_size: str,
    socket: Path | None, checkpoint_dir: Path | None, base_model: Path | None, own_sidecar: bool, logs: Path | None,
    seconds: float | None,
) -> None:  # fmt: skip
    """Be a node: encode each REF along a ladder, score it with libvmaf, and send the scores to a sidecar.

    A REF is a video, raw .yuv, a photograph (panned over), or lavfi:SOURCE; without any, ffmpeg generates twelve. Each
    encode is predicted with the newest stable checkpoint before its score is measured. For that libvmaf runs twice,
    once for the features. Ctrl-C or SIGTERM ends it after the encode that it is at.

    Exits with 0 when every frame was accepted, else with 1.
    """
    from pipeline.console.mistakes import in_one_line
    from pipeline.corpus.pairs import Limits, find_pairs, parse_ladder
    from pipeline.corpus.table import CorpusError
    from pipeline.data import BASE_MODEL
    from pipeline.demo.sidecar import SidecarEndedError
    from pipeline.encode.run import Setup, play
    from pipeline.encode.table import Table, summary
    from pipeline.libvmaf.block import LogError
    from pipeline.libvmaf.sender import Refused
    from pipeline.model.errors import UnusableModel
    from pipeline.runtime.lifecycle import StopFlag

    _log_to_standard_error()
    with (
        in_one_line(CorpusError, LogError, UnusableModel, SidecarEndedError, Refused),
        tempfile.TemporaryDirectory(prefix="vmafx-encode-") as name,
    ):
        limits = Limits(frames, height, yuv_size)
        rungs = parse_ladder(ladder or (_LADDER if references else GENERATED_LADDER))
        pairs = in_turn(find_pairs(references or GENERATED, rungs, limits))
        settings = settings_of(socket)
        setup = Setup(
            target=target,
            limits=limits,
            base_model=base_model or base_model_of(settings) or BASE_MODEL,
            socket=settings.socket,
            checkpoint_dir=checkpoint_dir or settings.checkpoint_dir,
            scratch=Path(name),
            logs=logs or Path(name),
        )
        setup.logs.mkdir(parents=True, exist_ok=True)
        table = Table(target, _write)
        sender = play(setup, pairs, own_sidecar=own_sidecar, seconds=seconds, stop=StopFlag(), table=table, tell=_tell)
        click.echo("\n".join(["", *summary(table.outcomes), sender.summary()]))
    if sender.counts.complaints or not sender.all_accepted():
        raise click.exceptions.Exit(1)


def _write(text: str) -> None:
    """Write a part of a line at once: a prediction is to be seen before it is measured."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _log_to_standard_error() -> None:
    """Let only what is wrong with the connection or a checkpoint be logged, and not into the table."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
