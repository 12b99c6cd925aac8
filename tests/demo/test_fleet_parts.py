"""The parts of the fleet's demo, each alone: who has what, what each would learn alone, the result."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.corpus.read import load_corpus
from pipeline.data import BASE_MODEL, CORPUS
from pipeline.demo.alone import Learned, alone, rows_of
from pipeline.demo.deal import NODES, dealt
from pipeline.demo.fleet import FleetDemo, Played, play
from pipeline.demo.fleet_display import FleetDisplay, Line
from pipeline.demo.fleet_result import Result, failure, plot, summary, table
from pipeline.demo.judge import HEADINGS, Judge
from pipeline.demo.run import DemoFailedError
from pipeline.ingest.dedup import name_hashes
from pipeline.model.runtime import OnnxModel
from pipeline.node.schedule import interleave
from pipeline.runtime.lifecycle import StopFlag

BASE, GOOD, BETTER = (dict.fromkeys(HEADINGS, error) for error in (9.0, 2.0, 1.0))


def test_sources_are_apart() -> None:
    """No source is with two, as many are with each node, five judge that nobody sends, and no row is lost."""
    corpus = load_corpus(CORPUS)
    nodes, judged = dealt(corpus)
    sources = [rows.sources() for rows in nodes]
    assert [len(each) for each in sources] == [2] * NODES
    assert len(judged.sources()) == 5
    everything = [*judged.sources(), *(name for each in sources for name in each)]
    assert sorted(everything) == corpus.sources()
    assert len(judged) + sum(map(len, nodes)) == len(corpus)


def test_a_node_sends_its_encodes_mixed_and_whole() -> None:
    """A fake node sends the rows as they lie: each encode in one piece and in order, the sources in turn."""
    rows = dealt(load_corpus(CORPUS))[0][0]
    assert [row for _, row in interleave(rows, 1, loop=False)] == list(range(len(rows)))
    changes = np.flatnonzero(np.diff(rows.clip))
    assert len(changes) == len(np.unique(rows.clip)) - 1
    assert (np.diff(rows.frame)[np.diff(rows.clip) == 0] > 0).all()
    assert len(np.flatnonzero(rows.source[1:] != rows.source[:-1])) > 10


def test_alone_it_learns_what_its_node_would_send() -> None:
    """The groups are those that ingest makes of the node's source ids, and the gate lets a better model pass."""
    nodes, judged = dealt(load_corpus(CORPUS))
    rows = nodes[3].rows(slice(0, 1600))
    first = f"{rows.source[0]}/{rows.clip[0]}"
    assert rows_of(rows, "vmaf_phone").group[0] == name_hashes([first])[0]
    judge = Judge(judged, "vmaf_phone")
    learned = alone(rows, "vmaf_phone", BASE_MODEL, 800, judge)
    assert [each.samples for each in learned] == [800, 1600]
    assert learned[-1].figures["rmse"] < judge.figures(OnnxModel(BASE_MODEL))["rmse"] / 2
    assert alone(rows, "vmaf_phone", BASE_MODEL, 800, judge) == learned


def result(with_pool: list[Learned]) -> Result:
    """Return a result of two nodes, of which one has published nothing in the fleet."""
    one = [Learned(100, GOOD)]
    return Result("vmaf", BASE, [one, one], Played([Learned(200, BETTER)], [with_pool, []]), [("a",), ("b",)], ["c"])


def test_the_result_has_everybody() -> None:
    """One row each, in groups; who has published nothing is shown with the base model, and is a failure."""
    output = io.StringIO()
    found = result([Learned(100, BETTER)])
    Console(file=output, width=200).print(table(found))
    for row in ("base model", "sidecar-1 alone", "sidecar-2 alone", "pool", "sidecar-1 with the pool"):
        assert row in output.getvalue()
    assert (found.mean_rmse("base"), found.mean_rmse("alone"), found.mean_rmse("pool"), found.mean_rmse("with")) == (
        9.0,
        2.0,
        1.0,
        5.0,
    )
    assert "sidecar-1 has a; sidecar-2 has b; judged on c" in summary(found)
    assert failure(found) == "sidecar-2 with the pool is not better than the base model: RMSE 9.00, not under 9.00"


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    """A PNG, also where somebody has published nothing."""
    plot(result([]), tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_has_a_line_each(terminal: bool) -> None:
    """With its samples, and the error of its newest stable model."""
    output = io.StringIO()
    with FleetDisplay(Console(file=output, force_terminal=terminal, width=160)) as display:
        display.show(3.0, 100.0, [Line("pool", 4321, 0, 7, "base model", 9.5), Line("one", 1, 1, 1, "version 2", 1.25)])
    for figure in ("pool", "4,321", "9.50", "one", "1.25"):
        assert figure in output.getvalue()


def test_a_missing_server_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra that brings one."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    corpus = load_corpus(CORPUS)
    script = FleetDemo(corpus, "vmaf", BASE_MODEL, 5.0, tmp_path, tmp_path)
    with FleetDisplay(Console(file=io.StringIO())) as display, pytest.raises(DemoFailedError, match="fleet-server"):
        play(script, Judge(script.judged, "vmaf"), display, StopFlag())
