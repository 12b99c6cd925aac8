"""The tables of docs/operations.md that follow from the program: `python -m tests.monitor.tables` writes them anew."""

import re

from prometheus_client.metrics_core import Metric

from pipeline import config
from pipeline.monitor.metrics import registry
from pipeline.monitor.record import Record
from pipeline.monitor.usage import Usages
from pipeline.runtime.lifecycle import ExitCode
from pipeline.runtime.reports import Board
from tests.support.boards import with_registry
from tests.support.processes import REPOSITORY

OPERATIONS = REPOSITORY / "docs" / "operations.md"
_SUFFIXES = {"counter": "_total", "info": "_info"}


def settings() -> str:
    """Return every setting with its default and its purpose."""
    rows = ["| variable | default | |", "|---|---|---|"]
    for entry in config.variables():
        variable = entry.metadata
        rows.append(f"| {variable['name']} | {_code(variable['default'])} | {variable['about']} |")
    return "\n".join(rows)


def metrics(board: Board) -> str:
    """Return every metric with type, labels and meaning, as a sidecar with telemetry on `board` and a registry does."""
    with_registry(board)
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    families = registry(board, Record(), Usages()).collect()
    return "\n".join([*rows, *(_metric(family) for family in families)])


def _metric(family: Metric) -> str:
    kind = "gauge" if family.type == "info" else family.type
    labels = sorted({label for sample in family.samples for label in sample.labels})
    return f"| {family.name}{_SUFFIXES.get(family.type, '')} | {kind} | {', '.join(labels)} | {family.documentation} |"


def exit_codes() -> dict[int, str]:
    """Return the exit codes that the page has to list."""
    return {code.value: code.name for code in ExitCode}


def _code(text: str) -> str:
    return f"`{text}`" if text else "(empty)"


def section(name: str) -> str:
    """Return what the page has between the marks of `name`."""
    match = _marked(name).search(OPERATIONS.read_text())
    assert match is not None, f"{OPERATIONS} has no section {name}"
    return match[2]


def write(name: str, table: str) -> None:
    """Put `table` between the marks of `name`."""
    text = OPERATIONS.read_text()
    OPERATIONS.write_text(_marked(name).sub(lambda match: f"{match[1]}{table}\n{match[3]}", text))


def _marked(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n)(.*?)\n?(<!-- end of {name} -->)", re.DOTALL)


def main() -> None:
    """Write all tables."""
    from pipeline.runtime import regions
    from pipeline.shm.segment import SHM_DIR
    from tests.support.boards import at_work

    instance = "operations-tables"
    try:
        write("settings", settings())
        write("metrics", metrics(at_work(instance)))
    finally:
        for leftover in regions.leftovers(instance):
            (SHM_DIR / leftover).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
