"""`vmafx-sidecar demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from pipeline.data import BASE_MODEL, CORPUS
from pipeline.runtime.extras import lacking


@click.command(epilog="Example: vmafx-sidecar demo --target vmaf_neg --seconds 90")
@click.option(
    "--target", default="vmaf_phone", show_default=True, help="The score to learn: a column of the bundled corpus."
)
@click.option("--seconds", type=click.FloatRange(min=5), default=50.0, show_default=True, help="Seconds to stream.")
@click.option("--rate", type=click.FloatRange(min=1), default=200.0, show_default=True, help="Frames a second.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Directory of the plot and the logs.",
)
def demo(target: str, seconds: float, rate: float, out: Path) -> None:
    """Run the whole loop on real frames: stream, train, publish, swap; about a minute.

    Starts a sidecar in a temporary directory and a fake node that streams the bundled corpus to it. In the end the base
    model and each checkpoint are judged on sources that were never sent.

    Exits with 0 if the last checkpoint verifies and is better than the base model, else with 1 and the reason.
    """
    if reason := lacking("plot", "the plot"):
        raise click.ClickException(reason)
    from rich.console import Console

    from pipeline.console.mistakes import in_one_line
    from pipeline.corpus.read import load_corpus
    from pipeline.corpus.table import CorpusError
    from pipeline.demo.display import Display
    from pipeline.demo.judge import Judge, failure, judge_all, plot, table
    from pipeline.demo.run import Demo, DemoFailedError, play
    from pipeline.demo.sidecar import SidecarEndedError
    from pipeline.runtime.lifecycle import StopFlag

    console = Console(emoji=False)
    stop = StopFlag()
    with in_one_line(CorpusError, DemoFailedError, SidecarEndedError):
        out.mkdir(parents=True, exist_ok=True)
        _log_to(out / "node.log")
        corpus = load_corpus(CORPUS)
        judge = Judge(corpus.only("judge"), target)
        with tempfile.TemporaryDirectory(prefix="vmafx-demo-") as name:
            script = Demo(corpus, target, BASE_MODEL, seconds, rate, Path(name), out / "sidecar.log")
            with Display(console) as display:
                began = play(script, judge, display, stop)
            judged = judge_all(BASE_MODEL, script.checkpoint_dir, judge, began)
            console.print(table(judged, target))
            plot(judged, target, out / "demo.png")
            console.print(f"plot: {out / 'demo.png'}", highlight=False, markup=False)
            if reason := failure(judged):
                raise DemoFailedError(reason)


def _log_to(path: Path) -> None:
    """Send this process's own events, which are the node's, to a file: the terminal is for the display."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(path.open("w")),
    )
