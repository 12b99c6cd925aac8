"""Options that the commands on logs share: which columns, how pooled, and what a log is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.naming import COUNTS, FIELDS, NUMBERS, Detail, Naming
from pipeline.libvmaf.pool import CLIP, FRAME, HARMONIC, MEAN, SECOND
from pipeline.libvmaf.samples import Wanted
from pipeline.model.features import SIX, Features, features_of

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_WANTED = (
    click.option("--target", default="vmaf", show_default=True, help="The log's column to take as the score."),
    click.option(
        "--pool",
        type=click.Choice([FRAME, SECOND, CLIP]),
        default=FRAME,
        show_default=True,
        help="One sample for each.",
    ),
    click.option(
        "--mean", "how", type=click.Choice([MEAN, HARMONIC]), default=MEAN, show_default=True, help="How to pool."
    ),
    click.option("--features", metavar="NAME,…", help="The model's features in order.  [default: what the model says]"),
)
_NAMING = (
    click.option(
        "--file-name",
        "pattern",
        default="",
        metavar="PATTERN",
        help="What file names hold, such as '{source_id}_{codec}_{crf}'.",
    ),
    click.option("--source-id", help="Which content it is, for all logs.  [default: the file's name]"),
    click.option("--job-id", help="Which encode it is, for one log.  [default: the file's name]"),
    click.option("--codec", help="Encoder, such as libx264."),
    click.option("--preset", help="Its preset."),
    click.option("--crf", type=float, help="Its CRF."),
    click.option("--width", type=int, help="Pixels."),
    click.option("--height", type=int, help="Pixels."),
    click.option("--frame-rate", type=click.FloatRange(min=0, min_open=True), help="Frames a second of the video."),
    click.option("--bitrate", "achieved_bitrate_kbps", type=float, help="Of the encode, in kbit/s."),
    click.option("--node-id", help="Which node it is from."),
    click.option("--set", "others", multiple=True, metavar="FIELD=VALUE", help="Another field of the wire."),
)


def wanted_options(command: _Command) -> _Command:
    """Add the options that `wanted` takes."""
    return _with(command, _WANTED)


def naming_options(command: _Command) -> _Command:
    """Add the options that `naming` takes."""
    return _with(command, _NAMING)


def wanted(
    features: Features, *, target: str, pool: str, how: str, frame_rate: float | None, needs_score: bool
) -> Wanted:
    """Return what to take of each log."""
    if pool == SECOND and frame_rate is None:
        raise click.UsageError(
            "--pool second needs --frame-rate: logs do not say it (their fps is libvmaf's own speed)"
        )
    return Wanted(features, target, needs_score, pool, how, frame_rate or 0.0)


def naming(pattern: str, others: tuple[str, ...], **given: Detail | None) -> Naming:
    """Return what tells what a log is of; LogError where it cannot be used."""
    known = {name: value for name, value in given.items() if value is not None}
    return Naming(pattern, known | dict(map(_field, others)))


def features_taken(model: Path | None, names: str | None) -> Features:
    """Return what `names` or the model say, else the canonical six; UnusableModel."""
    if names:
        return Features.of([name.strip() for name in names.split(",")])
    if model is None:
        return Features.of(SIX)
    from pipeline.model.runtime import OnnxModel

    return features_of(model, OnnxModel(model).inputs)


def _with(command: _Command, options: tuple[Callable[[_Command], _Command], ...]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def _field(text: str) -> tuple[str, Detail]:
    name, equals, value = text.partition("=")
    if not equals or name not in FIELDS:
        raise LogError(f"--set {text!r}: expected FIELD=VALUE with {', '.join(FIELDS)}")
    try:
        return name, int(value) if name in COUNTS else float(value) if name in NUMBERS else value
    except ValueError:
        raise LogError(f"--set {text!r}: expected a number") from None
