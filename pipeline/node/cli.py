"""`vmafx-sidecar feed`: the fake vmafx-node on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.console import parameters
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.model.mos import SUBJECTIVE

if TYPE_CHECKING:
    from pipeline.node.fake_node import Counts

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_PATH = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)


@click.command(epilog="Example: vmafx-sidecar feed --rate 200 --samples 5000 --target vmaf_neg")
@click.option("--socket", type=_PATH, help="Where the sidecar listens.  [default: VMAFX_SIDECAR_SOCKET]")
@click.option(
    "--checkpoint-dir",
    type=click.Path(path_type=str),
    help="Its checkpoints, or the URL of a registry.  [default: VMAFX_SIDECAR_CHECKPOINT_DIR]",
)
@click.option(
    "--base-model", type=_FILE, help="The node's own model.  [default: VMAFX_BASE_MODEL_PATH, or the bundled]"
)
@click.option("--corpus", "corpus_file", type=_FILE, default=CORPUS, help="Scored frames.  [default: the bundled ones]")
@click.option("--target", default="vmaf_phone", show_default=True, help="The corpus's column to send as true score.")
@click.option(
    "--ground-truth", default="", type=click.Choice(["", *SUBJECTIVE]), show_choices=False,
    help="Column to send as ground_truth_score where it is known: mos or ground_truth_score, on the scale "
    "VMAFX_SIDECAR_MOS_RANGE.",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=100.0, show_default=True, help="Frames a second."
)
@click.option("--samples", type=_POSITIVE, help="Stop after so many frames.  [default: the whole corpus]")
@click.option("--loop", is_flag=True, help="Begin again at the end of the corpus.")
@click.option(
    "--connections", type=_POSITIVE, default=1, show_default=True, help="Encodes side by side, a connection each."
)
@click.option("--window", type=_POSITIVE, default=1, show_default=True, help="Messages on the wire without an answer.")
@click.option(
    "--policy",
    default="latest-stable",
    callback=parameters.policy,
    show_default=True,
    help="latest, latest-stable or pinned:VERSION.",
)
def feed(
    socket: Path | None,
    checkpoint_dir: str | None,
    base_model: Path | None,
    corpus_file: Path,
    target: str,
    ground_truth: str,
    rate: float,
    samples: int | None,
    loop: bool,
    connections: int,
    window: int,
    policy: str,
) -> None:
    """Send scored frames as an encoder node does, and use the checkpoints that come of it.

    The columns that the base model's .json names are sent, as it takes them.

    Of a corpus with a part to judge by, only the part to stream is sent. Where the sidecar is slower, or away, it
    waits. Ctrl-C or SIGTERM stops it.

    Exits with 0 when stopped or when every frame was accepted, else with 1.
    """
    from pipeline import config
    from pipeline.console.target import base_model_of
    from pipeline.corpus.read import load_corpus, of_models
    from pipeline.corpus.table import CorpusError
    from pipeline.model.errors import UnusableModel
    from pipeline.model.runtime import taken_by
    from pipeline.node.fake_node import FakeNode, NodeOptions
    from pipeline.runtime import logs
    from pipeline.runtime.lifecycle import StopFlag

    try:
        settings = config.load()
        options = NodeOptions(
            socket=socket or settings.socket,
            checkpoint_dir=checkpoint_dir or settings.checkpoint_dir,
            base_model=base_model or base_model_of(settings) or BASE_MODEL,
            policy=policy,
            public_key=settings.registry_public_key,
            connections=connections,
            window=window,
            ground_truth=ground_truth,
            mos_range=settings.mos_range,
        )
        taken = of_models([taken_by(options.base_model)])
        corpus = load_corpus(corpus_file, taken, filter(None, (target, ground_truth)), settings.mos_range)
        logs.configure(settings)
        node = FakeNode(corpus.only("stream") if "stream" in corpus.part else corpus, target, options)
    except (config.ConfigError, CorpusError, UnusableModel, ValueError) as error:
        raise click.ClickException(str(error)) from None
    stop = StopFlag()
    with node:
        node.stream(stop, rate=rate, samples=samples, loop=loop)
        node.drain(stop)
    _conclude(node.counts(), stopped=bool(stop))


def _conclude(counts: Counts, *, stopped: bool) -> None:
    click.echo(
        f"sent {counts.sent}, accepted {counts.delivered}, refused {counts.rejected}, "
        f"dropped {counts.dropped}; {counts.swaps} model swaps"
    )
    if not stopped and counts.delivered < counts.sent:
        raise click.exceptions.Exit(1)
