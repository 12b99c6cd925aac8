"""`vmafx-sidecar simulate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console import parameters
from pipeline.console.mistakes import in_one_line
from pipeline.console.target import settings_of
from pipeline.corpus.table import TARGETS, CorpusError
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from pipeline.config import Settings
    from pipeline.model.graph import BaseModel
    from pipeline.shm.rows import RowBatch
    from pipeline.simulation.run import Outcome

RECIPES = ("default", "adam", "adr-0781")
_COLOURS = ("#0072b2", "#c04f00", "#00805c")


@click.command(
    epilog="Example: vmafx-sidecar simulate /var/lib/vmafx/archive --recipe default --recipe adam --plot curves.png"
)
@click.argument("samples", metavar="ARCHIVE|CORPUS", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    default=["default"],
    show_default=True,
    type=click.Choice(RECIPES),
    help="Recipe; can be given several times.",
)
@click.option(
    "--base",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Base model.  [default: VMAFX_BASE_MODEL_PATH, else an untrained network]",
)
@click.option("--tenant", help="Of an archive, only samples of this tenant_id.")
@click.option(
    "--since", callback=parameters.moment, metavar="DATE",
    help="Of an archive, only samples from this day or time on, in UTC.",
)  # fmt: skip
@click.option("--target", default="vmaf", show_default=True, type=click.Choice(TARGETS), help="Score of a corpus.")
@click.option(
    "--every", default=1000, show_default=True, type=click.IntRange(min=1), help="Samples between evaluations."
)
@click.option(
    "--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the errors, as a PNG."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def simulate(
    samples: Path, recipes: tuple[str, ...], base: Path | None, tenant: str | None, since: float | None, target: str,
    every: int, picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Replay samples in order of arrival through the sidecar's own training, and compare recipes.

    Errors are RMSE in points: on new samples before they are trained on, and on held-out groups; with what the gate
    would have said of a checkpoint after each VMAFX_SIDECAR_MIN_SAMPLES_CKPT samples. Other settings apply, too. No
    step is left out for lack of processor, so a run is the same every time on the same machine. With
    VMAFX_SIDECAR_TARGET=ground_truth_score, an archive's subjective scores are learned; of a corpus, see --target.
    """
    from pipeline.archive.reading import ArchiveError
    from pipeline.model.errors import UnusableModel
    from pipeline.simulation.samples import SamplesError

    if picture is not None and (reason := lacking("plot", "the plot")):
        raise click.ClickException(reason)
    with in_one_line(ArchiveError, CorpusError, SamplesError, UnusableModel):
        settings = settings_of(None)
        rows = _rows(samples, tenant, since, target, settings.opinion_range)
        settings = replace(settings, n_features=rows.n_features)
        outcomes = _run(recipes, _base(base or _configured(settings), settings), rows, settings, every)
        if picture is not None:
            _draw(outcomes, picture)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode({"samples": len(rows), "outcomes": outcomes}).decode())
    else:
        _print(outcomes)


def _rows(
    samples: Path, tenant: str | None, since: float | None, target: str, opinions: tuple[float, float] | None
) -> RowBatch:
    from pipeline.simulation.samples import of_archive, of_corpus

    if samples.is_dir():
        if reason := lacking("archive", "an archive"):
            raise click.ClickException(reason)
        return of_archive(samples, tenant, since, opinions=opinions)
    if tenant is not None or since is not None:
        raise click.UsageError("--tenant and --since are for archives")
    return of_corpus(samples, target)


def _configured(settings: Settings) -> Path | None:
    if settings.base_model is None or isinstance(settings.base_model, Path):
        return settings.base_model
    raise click.ClickException("VMAFX_BASE_MODEL_PATH leads to a registry: give a file with --base")


def _base(path: Path | None, settings: Settings) -> BaseModel:
    from pipeline.model.default_network import two_layer
    from pipeline.model.graph import BaseModel, load_base_model
    from pipeline.runtime.reports import UNTRAINED

    if path is None:
        return BaseModel(two_layer(settings.n_features, seed=settings.seed), UNTRAINED)
    base = load_base_model(path)
    if base.n_features != settings.n_features:
        raise click.ClickException(f"{path} takes {base.n_features} features, the samples have {settings.n_features}")
    return base


def _run(recipes: Sequence[str], base: BaseModel, rows: RowBatch, settings: Settings, every: int) -> list[Outcome]:
    from pipeline.runtime.reports import UNTRAINED
    from pipeline.simulation.run import simulate as run
    from pipeline.trainer.recipe import Recipe

    path = None if base.name == UNTRAINED else Path(base.name)
    outcomes = []
    with click.progressbar(length=len(rows) * len(recipes), label="samples", file=sys.stderr) as bar:
        for name in recipes:
            chosen = replace(
                settings,
                recipe="adr-0781" if name == "adr-0781" else "default",
                optimizer="adam" if name == "adam" else settings.optimizer,
                base_model=path,
            )
            outcomes.append(run(name, Recipe.from_settings(chosen), base, rows, settings, every, bar.update))
    return outcomes


def _print(outcomes: list[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "samples", "steps", "RMSE", "base", "RMSE held out", "base", "stable of judged", "weights")
    for outcome in outcomes:
        last = outcome.evaluations[-1]
        stable = sum(verdict.state == "stable" for verdict in outcome.verdicts)
        errors = (last.prequential, last.prequential_base, last.held_out, last.held_out_base)
        table.add_row(
            outcome.recipe, f"{last.samples:,}", f"{last.step:,}",
            *("-" if error is None else f"{error:.4g}" for error in errors),
            f"{stable} of {len(outcome.verdicts)}", outcome.digest[:12],
        )  # fmt: skip
    Console().print(table)
    for outcome in outcomes:
        for verdict in outcome.verdicts[-1:]:
            click.echo(f"{outcome.recipe}, after {verdict.samples:,} samples: {verdict.state}: {verdict.reason}")


def _draw(outcomes: list[Outcome], picture: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for outcome, colour in zip(outcomes, _COLOURS * len(outcomes), strict=False):
        samples = [each.samples for each in outcome.evaluations]
        for kind, style, about in (("prequential", "-", "new samples"), ("held_out", ":", "held out")):
            values = [float("nan") if (v := getattr(each, kind)) is None else v for each in outcome.evaluations]
            axes.plot(samples, values, style, color=colour, label=f"{outcome.recipe}, {about}")
    axes.set(xlabel="samples", ylabel="RMSE in points of VMAF", title="Error by recipe")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120, format="png")
