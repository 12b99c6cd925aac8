"""`vmafx-sidecar plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console.target import settings_of
from pipeline.monitor import history
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.monitor.history import Evaluation

_TESTS = {"prequential": "new samples, before training on them", "held_out": "samples held out from training"}
# The colours are those of the live page.
_MODELS = {
    "ema": ("trained (EMA)", "-", "#0072b2"),
    "base": ("base model", "--", "#c04f00"),
    "stable": ("last stable", ":", "#00805c"),
}
_MARKS = {"stable": ("o", "#14713d"), "unstable": ("x", "#b3202a"), "unproven": (".", "#7a5200")}


@click.command(epilog="Example: vmafx-sidecar plot --on held_out --out curve.png")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("learning.png"),
    show_default=True,
    help="File of the picture.",
)
@click.option(
    "--history",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the recorded history.  [default: state/history.sqlite in VMAFX_SIDECAR_CHECKPOINT_DIR]",
)
@click.option(
    "--on",
    type=click.Choice(list(_TESTS)),
    default="prequential",
    show_default=True,
    help="Measure the error on new samples, before training on them, or on held-out ones.",
)
def plot(out: Path, file: Path | None, on: str) -> None:
    """Plot the learning curve from the recorded history, as a PNG.

    The sidecar need not run. While it runs, the newest 30 seconds may be missing: the history is written that often.
    """
    if reason := lacking("plot", "the plot"):
        raise click.ClickException(reason)
    path = file or settings_of(None).state_dir / history.NAME
    if not path.exists():
        raise click.ClickException(f"{path}: no such file; --history names another")
    try:
        with history.opened(path) as recorded:
            evaluations, sidecars = recorded.evaluations(), recorded.checkpoints()
    except history.HistoryError as error:
        raise click.ClickException(str(error)) from None
    if not evaluations:
        raise click.ClickException(f"{path}: nothing has been recorded yet")
    try:
        _draw(evaluations, sidecars, on, out)
    except OSError as error:
        raise click.ClickException(f"{out}: {error.strerror}") from None
    click.echo(str(out))


def _draw(evaluations: list[Evaluation], sidecars: list[bytes], on: str, out: Path) -> None:
    import msgspec
    from matplotlib.figure import Figure

    from pipeline.checkpoints.checkpoint import Checkpoint

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    columns = dict(zip(history.COLUMNS, zip(*evaluations, strict=True), strict=True))
    for model, (label, style, colour) in _MODELS.items():
        values = [float("nan") if value is None else value for value in columns[f"{on}_{model}_rmse"]]
        axes.plot(columns["samples"], values, style, color=colour, label=label)
    _mark(axes, [msgspec.json.decode(sidecar, type=Checkpoint) for sidecar in sidecars])
    axes.set(xlabel="samples accepted", ylabel="RMSE in points of VMAF", title=f"Error on {_TESTS[on]}")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out, dpi=120, format="png")


def _mark(axes: Axes, checkpoints: list[Checkpoint]) -> None:
    """Mark the checkpoints along the bottom, by the gate's verdict."""
    for state, (mark, colour) in _MARKS.items():
        samples = [each.samples for each in checkpoints if each.state == state]
        if samples:
            label = f"checkpoint, {state}"
            axes.plot(samples, [0] * len(samples), mark, color=colour, label=label, clip_on=False, linestyle="none")
