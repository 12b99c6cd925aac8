"""What the page shows of the gate's figures."""

import re
from pathlib import Path

import msgspec

from pipeline.checkpoints.checkpoint import Figures, GateMetrics, Part
from tests.monitor.javascript import result_of

HEADINGS = ["SROCC", "SROCC under 99"]


def test_every_owner_has_a_row(tmp_path: Path) -> None:
    """A table of the models, then one a kind; heights by size; a missing figure, and whatever name a node sends."""
    by = {
        "height": {"1080": Part(4, 1.25, 12.5), "540": Part(2, 0.5, None)},
        "node": {"<b>n1</b>": Part(5, 1.0, 2.0), "__proto__": Part(1, 3.0, 4.0)},
    }
    metrics = {
        "held-out": GateMetrics(1234, 8, Figures(1.5, 0.9, None, 0.99), Figures(12.0, 0.95, 0.9), by=by),
        "fixture": GateMetrics(90, 3),
    }
    tables = result_of(tmp_path, "measured.js", "measured", msgspec.to_builtins(metrics))
    figures = ["model", "RMSE", "PLCC", *HEADINGS]
    assert tables == [
        [
            "held-out: 1,234 samples of 8 groups",
            figures,
            [["candidate", "1.5", "0.9", "none", "0.99"], ["base", "12", "0.95", "0.9", "none"]],
        ],
        [
            "held-out: RMSE by height",
            ["height", "samples", "candidate", "base"],
            [["540", "2", "0.5", "none"], ["1080", "4", "1.25", "12.5"]],
        ],
        [
            "held-out: RMSE by node",
            ["node", "samples", "candidate", "base"],
            [["<b>n1</b>", "5", "1", "2"], ["__proto__", "1", "3", "4"]],
        ],
        ["fixture: 90 samples of 3 groups", figures, []],
    ]


def test_how_pushing_goes_is_said(tmp_path: Path) -> None:
    """Nothing yet; the last push; what is wrong, since when, and what waits."""
    at = {"pushed_at": "2026-05-28T20:26:40Z"}
    failing = {"failing": "down", "failing_since": "2026-05-28T20:28:20Z", "waiting_since": "2026-05-28T20:29:40Z"}
    said = [result_of(tmp_path, "words.js", "pushing", each) for each in ({}, at, at | failing)]
    assert said[0] == "nothing pushed yet"
    assert said[1].startswith("last push 2026-05-2")
    assert re.fullmatch(r"down since .+:20, a version waits since .+:40; last push .+:40", said[2])
