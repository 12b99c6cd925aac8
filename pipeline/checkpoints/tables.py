"""Checkpoints as tables for a terminal."""

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.checkpoints import pointers
from pipeline.checkpoints.checkpoint import Checkpoint, Figures, GateMetrics
from pipeline.checkpoints.diff import Change

_COLOURS = {"stable": "green", "unstable": "red", "unproven": "yellow"}


def print_table(table: Table) -> None:
    """Print to the terminal; without colour where it is none."""
    Console(emoji=False).print(table)


def listing(directory: Path, known: list[Checkpoint], pinned: set[int]) -> Table:
    """Return one row a checkpoint: what it is of, how it does on the first gate set, and who points at it."""
    table = Table(title=escape(str(directory)), box=box.SIMPLE, padding=0, collapse_padding=True)
    for heading in ("v", "created (UTC)", "step", "samples", "state", "RMSE", "base", "PLCC", ""):
        numeric = heading in {"v", "step", "samples", "RMSE", "base", "PLCC"}
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=bool(heading), overflow="fold")
    pointing = {name: pointers.pointed(directory, name) for name in (pointers.LATEST, pointers.LATEST_STABLE)}
    for each in known:
        gate = next(iter(each.metrics.values()), GateMetrics(0, 0))
        marks = [name for name, version in pointing.items() if version == each.version]
        marks += ["pinned"] if each.version in pinned else []
        table.add_row(
            str(each.version),
            escape(each.created[:16].replace("T", " ")),
            f"{each.step:,}",
            f"{each.samples:,}",
            f"[{_COLOURS[each.state]}]{each.state}",
            *(_number(figures, "rmse") for figures in (gate.candidate, gate.base)),
            _number(gate.candidate, "plcc"),
            ", ".join(marks),
        )
    return table


def details(*known: Checkpoint) -> Table:
    """Return one column a checkpoint: its own facts, then every figure of every gate set."""
    table = Table(show_header=False, box=box.SIMPLE)
    rows = [dict(_facts(each)) for each in known]
    table.add_column(no_wrap=True)
    for _ in known:
        table.add_column(overflow="fold")
    for label in dict.fromkeys(label for facts in rows for label in facts):
        table.add_row(label, *(facts.get(label, "") for facts in rows))
    return table


def _facts(each: Checkpoint) -> Iterator[tuple[str, str]]:
    yield "version", str(each.version)
    yield "state", f"[{_COLOURS[each.state]}]{each.state}"
    yield "reason", escape(each.reason)
    if each.origin:
        yield "origin", escape(each.origin)
    yield "created", escape(each.created)
    yield "step", f"{each.step:,}"
    yield "samples", f"{each.samples:,}"
    yield "base model", escape(f"{each.base_model} {each.base_sha256[:12]}")
    yield "SHA-256", escape(each.sha256)
    for name, gate in each.metrics.items():
        name = escape(name)
        yield f"{name}: rows, groups", f"{gate.samples:,}, {gate.groups:,}"
        for whose, figures in (("candidate", gate.candidate), ("base", gate.base), ("last stable", gate.stable)):
            if figures is not None:
                numbers = ", ".join(_number(figures, field) for field in ("rmse", "plcc", "srocc", "srocc_under_99"))
                yield f"{name}: {whose} RMSE, PLCC, SROCC, SROCC under 99", numbers
        for kind, parts in gate.by.items():
            for who, part in parts.items():
                errors = ", ".join("" if each is None else f"{each:.4g}" for each in (part.candidate, part.base))
                yield f"{name}: {kind} {escape(who)}: rows, RMSE, base", f"{part.samples:,}, {errors}"


def weight_changes(moved: list[Change]) -> Table:
    """Return one row a trained tensor: how far it moved, and that as a share of its norm."""
    table = Table(box=box.SIMPLE)
    for heading in ("weights", "shape", "norm", "moved", "share"):
        table.add_column(heading, justify="left" if heading == "weights" else "right")
    for each in moved:
        share = f"{each.moved / each.norm:.2%}" if each.norm else ""
        shape = " x ".join(map(str, each.shape))
        table.add_row(escape(each.name), shape, f"{each.norm:.4g}", f"{each.moved:.4g}", share)
    return table


def _number(figures: Figures | None, field: str) -> str:
    value = None if figures is None else getattr(figures, field)
    return "" if value is None else f"{value:.4g}" if field == "rmse" else f"{value:.4f}"
