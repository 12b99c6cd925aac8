"""`vmafx-sidecar correct`: JSON in, one line of JSON out, everything meant for people on standard error."""

# ruff: noqa: D301 - \b in a help text is click's mark for lines to be left as they are, and must be the character

import functools
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import click
import msgspec

from pipeline.correction import drift
from pipeline.correction.captures import CorrectionError, Observation, Query
from pipeline.correction.correction import Correction
from pipeline.correction.host import host_id
from pipeline.correction.state import SCHEMA_VERSION
from pipeline.correction.store import CorrectionStore

_T = TypeVar("_T")

DEFAULT_PREDICTOR_VERSION = "predictor_v1"


@click.group()
def correct() -> None:
    """Learn on this host a correction for the scores of a predictor that cannot be retrained.

    \b
    Example, one encode predicted at 91.2 and measured at 93.8:
      echo '{"features": {"fps": 24, "width": 1920}, "crf": 28, "predicted": 91.2, "observed": 93.8}' |
        vmafx-sidecar correct record --codec libx264
    """


def _on_state(command: Callable[..., object]) -> Callable[..., None]:
    """Add the options that say which state, and turn what the user can mend into one line."""

    @click.option("--codec", required=True, help="Codec of the correction, such as libx264.")
    @click.option("--predictor-version", default=DEFAULT_PREDICTOR_VERSION, show_default=True)
    @click.option(
        "--cache-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the state.  [default: $XDG_CACHE_HOME/vmaf-tune/sidecar]",
    )
    @functools.wraps(command)
    def wrapped(codec: str, predictor_version: str, cache_dir: Path | None, **arguments: object) -> None:
        try:
            store = CorrectionStore(predictor_version, cache_dir)
            answer = command(store=store, codec=codec, **arguments)
        except CorrectionError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            hint = "" if cache_dir else "; --cache-dir or XDG_CACHE_HOME says where state may lie"
            raise click.ClickException(message + hint) from error
        click.echo(msgspec.json.encode(answer))

    return wrapped


_input = click.argument("source", type=click.File("rb"), default="-", metavar="[FILE]")


@correct.command()
@_on_state
def status(store: CorrectionStore, codec: str) -> object:
    """Show what has been learned for a codec, and whether it still fits.

    \b
    Example:
      vmafx-sidecar correct status --codec libx264
    """
    return {"host_id": host_id(store.cache_dir), **_status(store, codec, store.load(codec))}


@correct.command()
@_on_state
@_input
def predict(store: CorrectionStore, codec: str, source: BinaryIO) -> object:
    """Correct one prediction: {"features": …, "crf": …, "predicted": …} from FILE or standard input.

    Features are an object of named numbers or an array of numbers, the same for every call.

    \b
    Example:
      echo '{"features": {"fps": 24, "width": 1920}, "crf": 28, "predicted": 91.2}' |
        vmafx-sidecar correct predict --codec libx264
    """
    correction = store.load(codec)
    corrected = correction.apply(_decode(source.read(), Query))
    return {**msgspec.structs.asdict(corrected), "captures": correction.captures}


@correct.command()
@_on_state
@_input
def record(store: CorrectionStore, codec: str, source: BinaryIO) -> object:
    """Learn from one encode: as for predict, and "observed", from FILE or standard input.

    \b
    Example:
      echo '{"features": {"fps": 24, "width": 1920}, "crf": 28, "predicted": 91.2, "observed": 93.8}' |
        vmafx-sidecar correct record --codec libx264
    """
    correction, outcome = store.record(codec, _decode(source.read(), Observation))
    return {**msgspec.structs.asdict(outcome), **_status(store, codec, correction)}


@correct.command("batch-record")
@_on_state
@_input
def batch_record(store: CorrectionStore, codec: str, source: BinaryIO) -> object:
    """Learn from many encodes, one JSON object a line as for record.

    A line that is refused is reported and left out; all others are recorded at once, or none if that fails.

    \b
    Example:
      vmafx-sidecar correct batch-record --codec libx264 captures.jsonl
    """
    correction, result = store.record_lines(codec, source)
    for refusal in result.refused:
        click.echo(f"Warning: line {refusal.line}: {refusal.reason}", err=True)
    return {**msgspec.structs.asdict(result), **_status(store, codec, correction)}


@correct.command()
@_on_state
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("correction.png"),
    show_default=True,
    help="File of the plot; its suffix is the format.",
)
def report(store: CorrectionStore, codec: str, output: Path) -> object:
    """Plot the error before and after correction over the recent captures.

    \b
    Example:
      vmafx-sidecar correct report --codec libx264 --output libx264.png
    """
    from pipeline.runtime.extras import lacking

    if reason := lacking("plot", "the plot"):
        raise click.ClickException(reason)
    correction = store.load(codec)
    drift.plot(list(correction.history), f"{codec}, {store.predictor_version}", output)
    return {"plot": str(output), **_status(store, codec, correction)}


def _decode(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise CorrectionError(f"input: {error}") from error


def _status(store: CorrectionStore, codec: str, correction: Correction) -> dict[str, object]:
    verdict = drift.judge(correction.history)
    if verdict.advice:
        click.echo(f"Warning: {codec}: {verdict.advice}", err=True)
    return {
        "codec": codec,
        "predictor_version": store.predictor_version,
        "schema_version": SCHEMA_VERSION,
        "state_path": str(store.path(codec)),
        "features": correction.features,
        "captures": correction.captures,
        "drift": verdict,
    }
