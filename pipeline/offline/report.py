"""What an evaluation found: as a JSON document, and as rows of one table."""

from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np

from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import FIGURES
from pipeline.offline.candidate import Candidate
from pipeline.offline.scores import GroupResult, by_group
from pipeline.runtime.durable import write_durably


@dataclass(frozen=True)
class Report:
    """Everything found of one model."""

    model: str
    target: str
    groups: list[GroupResult]
    latency_us_p50: float
    latency_us_p95: float
    bytes: int

    @property
    def overall(self) -> GroupResult:
        """The group of all rows."""
        return self.groups[0]

    def over_sources(self, figure: str) -> tuple[float, float]:
        """Return mean and standard deviation of a figure over the sources."""
        values = [group.figures[figure].value for group in self.groups if group.kind == "source"]
        return float(np.mean(values)), float(np.std(values))


def judge(candidate: Candidate, corpus: Corpus, target: str, resamples: int) -> Report:
    """Compare a candidate's predictions with the scores."""
    groups = by_group(candidate.predicted, corpus, target, resamples)
    return Report(candidate.name, target, groups, candidate.latency_p50, candidate.latency_p95, candidate.size)


HEADINGS = (
    "model", "PLCC", "SROCC", "KROCC", "RMSE", "95 %", "MAE", "RMSE of a source", "PLCC of a source",
    "p50 µs", "p95 µs", "bytes",
)  # fmt: skip
"""Columns of `row`; "of a source" is mean ± standard deviation over the sources."""


def row(report: Report) -> tuple[str, ...]:
    """Return the cells of one model under HEADINGS."""
    figures = report.overall.figures
    correlations = (f"{figures[name].value:.4f}" for name in ("plcc", "srocc", "krocc"))
    rmse = figures["rmse"]
    return (
        report.model,
        *correlations,
        f"{rmse.value:.3f}",
        f"{rmse.low:.3f}-{rmse.high:.3f}",
        f"{figures['mae'].value:.3f}",
        "{:.3f} ± {:.3f}".format(*report.over_sources("rmse")),
        "{:.4f} ± {:.4f}".format(*report.over_sources("plcc")),
        f"{report.latency_us_p50:.1f}",
        f"{report.latency_us_p95:.1f}",
        str(report.bytes),
    )


def write_json(path: Path, reports: list[Report]) -> None:
    """Write reports as a JSON list, durably; figures that do not exist are null."""
    document = [
        asdict(report) | {"over_sources": {name: report.over_sources(name) for name in FIGURES}} for report in reports
    ]
    write_durably(path, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
