"""`vmafx-sidecar demo`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.data import BASE_MODEL, CORPUS
from pipeline.runtime.extras import lacking

if TYPE_CHECKING:
    from rich.console import Console

SECONDS, FLEET_SECONDS = 50.0, 100.0
RATE = 200.0


@click.command(epilog="Example: vmafx-sidecar demo --target vmaf_neg --seconds 90")
@click.option(
    "--target", default="vmaf_phone", show_default=True, help="The score to learn: a column of the bundled corpus."
)
@click.option("--seconds", type=click.FloatRange(min=5), help="Seconds to stream.  [default: 50; with --fleet: 100]")
@click.option(
    "--rate", type=click.FloatRange(min=1), help="Frames a second.  [default: 200; with --fleet: what --seconds takes]"
)
@click.option("--fleet", is_flag=True, help="Show four sidecars and a pool that learn together.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Directory of the plot and the logs.",
)
def demo(target: str, seconds: float | None, rate: float | None, fleet: bool, out: Path) -> None:
    """Run the whole loop on real frames: stream, train, publish, swap; about a minute.

    Starts a sidecar in a temporary directory and a fake node that streams the bundled corpus to it. In the end the base
    model and each checkpoint are judged on sources that were never sent. With --fleet: a NATS server, a pool and four
    sidecars, each with a node of its own and other sources; about two minutes.

    Exits with 0 if the last checkpoint verifies and is better than the base model, else with 1 and the reason.
    """
    if reason := lacking("plot", "the plot") or (lacking("fleet", "--fleet") if fleet else ""):
        raise click.ClickException(reason)
    if fleet and rate is not None:
        raise click.UsageError("--rate is not for --fleet: every row is sent once, in --seconds")
    from rich.console import Console

    from pipeline.config import ConfigError
    from pipeline.console.mistakes import in_one_line
    from pipeline.corpus.table import CorpusError
    from pipeline.demo.run import DemoFailedError
    from pipeline.demo.servers import ServerFailedError
    from pipeline.demo.sidecar import SidecarEndedError

    console = Console(emoji=False)
    with in_one_line(ConfigError, CorpusError, DemoFailedError, ServerFailedError, SidecarEndedError):
        out.mkdir(parents=True, exist_ok=True)
        _log_to(out / "node.log")
        if fleet:
            _fleet(console, target, seconds or FLEET_SECONDS, out)
        else:
            _one(console, target, seconds or SECONDS, rate or RATE, out)


def _one(console: Console, target: str, seconds: float, rate: float, out: Path) -> None:
    from pipeline.corpus.read import load_corpus
    from pipeline.demo.display import Display
    from pipeline.demo.judge import Judge, failure, judge_all, plot, table
    from pipeline.demo.run import Demo, DemoFailedError, play
    from pipeline.runtime.lifecycle import StopFlag

    stop = StopFlag()
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


def _fleet(console: Console, target: str, seconds: float, out: Path) -> None:
    from pipeline.corpus.read import load_corpus
    from pipeline.demo.alone import alone
    from pipeline.demo.fleet import CHECKPOINTS, FleetDemo, play
    from pipeline.demo.fleet_display import FleetDisplay
    from pipeline.demo.fleet_result import Result, failure, plot, summary, table
    from pipeline.demo.judge import Judge
    from pipeline.demo.run import DemoFailedError, pause
    from pipeline.model.runtime import OnnxModel
    from pipeline.runtime.lifecycle import StopFlag

    stop = StopFlag()
    corpus = load_corpus(CORPUS)
    with tempfile.TemporaryDirectory(prefix="vmafx-demo-") as name:
        script = FleetDemo(corpus, target, BASE_MODEL, seconds, Path(name), out)
        judge = Judge(script.judged, target)
        with FleetDisplay(console) as display:
            played = play(script, judge, display, stop)
            display.say("all are stopped; what each sidecar would have learned alone, from the same samples: computing")
            learned = []
            for rows in script.nodes:
                learned.append(alone(rows, target, BASE_MODEL, len(rows) // CHECKPOINTS, judge))
                pause(stop)
    base = judge.figures(OnnxModel(BASE_MODEL))
    sources = [rows.sources() for rows in script.nodes]
    result = Result(target, base, learned, played, sources, script.judged.sources())
    console.print(table(result))
    console.print(summary(result), highlight=False, markup=False, soft_wrap=True)
    plot(result, out / "fleet.png")
    console.print(f"plot: {out / 'fleet.png'}", highlight=False, markup=False)
    if reason := failure(result):
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
