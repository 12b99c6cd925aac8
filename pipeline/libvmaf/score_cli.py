"""`vmafx-sidecar score`: a model's predictions beside libvmaf's scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.console import parameters
from pipeline.console.target import base_model_of, settings_of
from pipeline.libvmaf import options
from pipeline.libvmaf.options import naming_options, wanted_options
from pipeline.node.policy import LATEST_STABLE

if TYPE_CHECKING:
    from pipeline.libvmaf.score import Scored

TABLE, JSON, CSV = "table", "json", "csv"


@click.command(epilog="Example: vmafx-sidecar score /models/online logs/*.json --target vmaf_neg")
@click.argument("model", metavar="MODEL|DIRECTORY", type=click.Path(exists=True, path_type=Path))
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--policy",
    default=LATEST_STABLE,
    show_default=True,
    callback=parameters.policy,
    help="Of a checkpoint directory: latest, latest-stable or pinned:VERSION.",
)
@click.option(
    "--base-model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Whose .json names a checkpoint's features.  [default: VMAFX_BASE_MODEL_PATH]",
)
@wanted_options
@naming_options
@click.option(
    "--format", "form", type=click.Choice([TABLE, JSON, CSV]), default=TABLE, show_default=True, help="Output."
)
@click.option("--each", is_flag=True, help="Each sample, too; CSV has nothing else.")
def score(
    model: Path, logs: tuple[Path, ...], policy: str, base_model: Path | None, target: str, pool: str, how: str,
    features: str | None, form: str, each: bool, pattern: str, others: tuple[str, ...], **given: Any,
) -> None:  # fmt: skip
    """Predict the frames of libvmaf's logs with a model, or with the newest stable checkpoint of a directory.

    Where a log has the target's column, error and correlation are shown, too.

    Exits with 0 when every frame was predicted, and with 1 when some were left out.
    """
    from pipeline.console.mistakes import in_one_line
    from pipeline.libvmaf.block import LogError
    from pipeline.libvmaf.score import Scorer, model_at
    from pipeline.model.errors import UnusableModel
    from pipeline.model.runtime import OnnxModel

    complaints: list[str] = []

    def tell(line: str) -> None:
        complaints.append(line)
        click.echo(line, err=True)

    with in_one_line(LogError, UnusableModel):
        path = model_at(model, policy)
        taken = options.features_taken(path, features)
        base = base_model or base_model_of(settings_of(None))
        if model.is_dir() and not taken.named and base is not None:
            taken = options.features_taken(base, features)
        wanted = options.wanted(
            taken, target=target, pool=pool, how=how, frame_rate=given["frame_rate"], needs_score=False
        )
        scorer = Scorer(OnnxModel(path), wanted, options.naming(pattern, others, **given), tell)
        scored = [found for log in logs if (found := scorer.score(log)) is not None]
    if scored:
        if all(log.measured is None for log in scored):
            click.echo(f"no log has a column {target}: there is nothing to compare with", err=True)
        _show(path, target, scored, form, each)
    if complaints:
        raise click.exceptions.Exit(1)


def _show(model: Path, target: str, scored: Sequence[Scored], form: str, each: bool) -> None:
    from pipeline.libvmaf import score_output

    if form == CSV:
        score_output.write_csv(scored)
    elif form == JSON:
        score_output.write_json(model, target, scored, each)
    else:
        score_output.write_table(model, target, scored, each)
