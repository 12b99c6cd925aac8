"""`vmafx-sidecar train` and `vmafx-sidecar evaluate`: the commands and what their options mean."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import numpy as np
from click.core import ParameterSource

from pipeline.console.mistakes import in_one_line
from pipeline.corpus.cli import features_option, mos_range_option
from pipeline.corpus.read import by_pattern, load_corpus, of_models, subjective_target
from pipeline.corpus.table import FEATURES, TARGETS, Corpus, CorpusError
from pipeline.model.mos import SUBJECTIVE, Scale
from pipeline.offline.architectures import ARCHITECTURES, learning_rate
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from pipeline.offline.evaluated_model import EvaluatedModel

_ASSUMED_CLIPS, _ASSUMED_FRAMES = 4, 2
_file = click.Path(path_type=Path, dir_okay=False)
_corpus_path = click.Path(path_type=Path)
_directory = click.Path(path_type=Path, file_okay=False)
_target = click.option("--target", default="vmaf", show_default=True, help="Score: a column of CORPUS.")
_resamples = click.option(
    "--resamples",
    default=200,
    show_default=True,
    type=click.IntRange(min=0),
    help="Number of bootstrap draws in reports.",
)


@click.command(epilog="Example: vmafx-sidecar train frames.parquet --val-source bikes,cars -o models")
@click.argument("corpus_file", metavar="[CORPUS]", type=_corpus_path, required=False)
@click.option("-o", "--output", required=True, type=_directory, help="Directory of models and reports.")
@click.option(
    "--arch", "architectures", multiple=True, default=["mlp_small"], show_default=True,
    type=click.Choice(list(ARCHITECTURES)), help="Architecture; can be given several times.",
)  # fmt: skip
@click.option("--name", help="File name of the model, without suffix.  [default: the architecture]")
@_target
@click.option(
    "--targets-source", default="vmaf", show_default=True, type=click.Choice(["vmaf", "mos", "hybrid"]),
    help="vmaf: learn --target. mos: learn the subjective score, a column mos or ground_truth_score. hybrid: first the "
    "one, then the other, of the clips that have it.",
)  # fmt: skip
@mos_range_option
@features_option
@click.option(
    "--val-source",
    "left_out",
    default="",
    help="Sources to leave out of training and to judge on, separated by commas.",
)
@click.option("--loso", is_flag=True, help="Leave out every source in turn, and write a report instead of a model.")
@click.option(
    "--seeds", default=48, show_default=True, type=click.IntRange(min=1), help="Number of networks in the committee."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of all random draws.")
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(min=0), help="Maximum number of epochs.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(min=1), help="Rows per step.")
@click.option(
    "--lr", type=click.FloatRange(min=0, min_open=True), help="Learning rate.  [default: by the width of the network]"
)
@click.option("--schedule", default="cosine", show_default=True, type=click.Choice(["cosine", "plateau"]))
@click.option(
    "--patience",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Epochs without improvement before training stops.",
)
@_resamples
@click.option("--assume-dims", metavar="WxH", help="With --epochs 0: zeros instead of CORPUS, to try the command.")
@click.pass_context
def train(
    context: click.Context, corpus_file: Path | None, output: Path, architectures: tuple[str, ...], name: str | None,
    target: str, targets_source: str, mos_range: Scale, features: tuple[str, ...],
    left_out: str, loso: bool, seeds: int, seed: int, epochs: int, batch_size: int, lr: float | None,
    schedule: Literal["cosine", "plateau"], patience: int, resamples: int, assume_dims: str | None,
) -> None:  # fmt: skip
    """Train networks on CORPUS (.parquet, .csv or .npz, a directory of them, or an archive) and write them as ONNX.

    A run that was stopped continues when it is started again.
    """
    if loso and left_out:
        raise click.UsageError("give either --loso or --val-source: --loso leaves out every source in turn")
    if name and (loso or len(architectures) > 1):
        raise click.UsageError("--name names one model: give one --arch, and no --loso")
    _need("torch", "training")
    if loso:
        _need("plot", "a report")
    from pipeline.offline.fit import Recipe
    from pipeline.offline.train import forget, train_all
    from pipeline.offline.trained_model import Origin, write_models

    recipes = {
        architecture: Recipe(
            lr or learning_rate(architecture), epochs, batch_size, schedule=schedule, patience=patience
        )
        for architecture in architectures
    }
    with in_one_line(CorpusError):
        subjective = subjective_target(corpus_file) if corpus_file and targets_source != "vmaf" else ""
        first = subjective if targets_source == "mos" and subjective else target
        then = subjective if targets_source == "hybrid" else ""
        corpus = _corpus(corpus_file, assume_dims, epochs, features, (first, then), mos_range).with_score(first)
        excluded = tuple(left_out.split(",")) if left_out else ()
        folds = [(source,) for source in corpus.sources()] if loso else [excluded]
        output.mkdir(parents=True, exist_ok=True)
        trained = train_all(corpus, first, recipes, folds, range(seed * seeds, (seed + 1) * seeds), output, then)
        if loso:
            from pipeline.offline.evaluated_model import out_of_fold

            evaluated = [out_of_fold(architecture, models, corpus) for architecture, models in trained.items()]
            _report(evaluated, corpus, then or first, resamples, output, "loso")
        else:
            origin = Origin(corpus, str(corpus_file or assume_dims), then or first, _command_line(context))
            for path in write_models(output, name, trained, recipes, origin):
                click.echo(path)
        forget(output, architectures)


@click.command(
    epilog="Example: vmafx-sidecar evaluate ours.onnx theirs.onnx frames.parquet --sources bikes,cars -o report"
)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, type=_file)
@click.argument("corpus_file", metavar="CORPUS", type=_corpus_path)
@click.option("-o", "--output", required=True, type=_directory, help="Directory of the report.")
@_target
@mos_range_option
@click.option("--sources", default="", help="Only these sources, separated by commas.")
@click.option("--part", type=click.Choice(["stream", "judge"]), help="Only this part of a packed corpus.")
@_resamples
def evaluate(
    models: tuple[Path, ...],
    corpus_file: Path,
    output: Path,
    target: str,
    mos_range: Scale,
    sources: str,
    part: str | None,
    resamples: int,
) -> None:
    """Compare the predictions of each MODEL with the scores in CORPUS.

    Each model is given the columns that its .json names. A subjective score, of the column mos or ground_truth_score,
    is compared with the mean prediction of a clip.

    Writes evaluation.json, evaluation.html and plots. Intervals are 95 %, by drawing whole clips; they say nothing
    of other sources.
    """
    _need("plot", "a report")
    from pipeline.model.errors import UnusableModel
    from pipeline.model.runtime import taken_by
    from pipeline.offline.evaluated_model import run

    with in_one_line(CorpusError, UnusableModel):
        corpus = load_corpus(corpus_file, of_models([taken_by(path) for path in models]), [target], mos_range)
        corpus = corpus.rows(corpus.mask_of(sources.split(","))) if sources else corpus
        corpus = corpus.only(part) if part else corpus
        corpus = corpus.with_score(target)
        if not len(corpus):
            raise CorpusError(f"{corpus_file}: no rows are left to judge on")
        evaluated = [run(path, corpus) for path in models]
        output.mkdir(parents=True, exist_ok=True)
        _report(evaluated, corpus, target, resamples, output, "evaluation")


def _report(
    evaluated: "list[EvaluatedModel]", corpus: Corpus, target: str, resamples: int, output: Path, name: str
) -> None:
    """Write the report: by frame, or by clip where the score is one of whole clips."""
    from pipeline.offline.evaluated_model import by_clip
    from pipeline.offline.report_files import write_report

    if target in SUBJECTIVE:
        evaluated, corpus = by_clip(evaluated, corpus, target)
    write_report(evaluated, corpus, target, resamples, output, name)


def _need(extra: str, purpose: str) -> None:
    """Say what is missing before the work is done, not after."""
    if reason := lacking(extra, purpose):
        raise click.ClickException(reason)


def _corpus(
    path: Path | None,
    assume_dims: str | None,
    epochs: int,
    features: tuple[str, ...],
    targets: tuple[str, ...],
    mos_range: Scale,
) -> Corpus:
    if assume_dims is None:
        if path is None:
            raise click.UsageError("give CORPUS, or --epochs 0 --assume-dims WxH to try the command without one")
        return load_corpus(path, by_pattern(features), targets, mos_range)
    if path is not None or epochs:
        raise click.UsageError(
            "give --assume-dims only without CORPUS and with --epochs 0: nothing can be learned from zeros"
        )
    return _assumed_corpus(assume_dims)


def _assumed_corpus(dimensions: str) -> Corpus:
    """Return a few frames of zeros of two sources named after `dimensions`, such as 576x324.

    With it an installation is tried out where there is no real corpus.
    """
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", dimensions):
        raise CorpusError(f"dimensions {dimensions!r}: expected WIDTHxHEIGHT, such as 576x324")
    n = _ASSUMED_CLIPS * _ASSUMED_FRAMES
    clip = np.repeat(np.arange(_ASSUMED_CLIPS), _ASSUMED_FRAMES)
    return Corpus(
        features=np.zeros((n, len(FEATURES)), np.float32),
        targets={name: np.zeros(n, np.float32) for name in TARGETS},
        source=np.array([f"assumed-{dimensions}-{number % 2}" for number in clip]),
        clip=clip,
        frame=np.tile(np.arange(_ASSUMED_FRAMES), _ASSUMED_CLIPS),
        codec=np.full(n, "none"),
        part=np.full(n, ""),
    )


def _command_line(context: click.Context) -> str:
    """Return the command as it was given, for the record."""
    words = ["vmafx-sidecar", context.command.name or ""]
    for parameter in context.command.get_params(context):
        if context.get_parameter_source(parameter.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[parameter.name or ""]
        option = [] if isinstance(parameter, click.Argument) else [max(parameter.opts, key=len)]
        for each in value if isinstance(value, tuple) else (value,):
            words += option if each is True else [*option, str(each)]
    return shlex.join(words)
