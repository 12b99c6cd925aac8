"""docs/operations.md says what the program does: nothing is missing, nothing is left over."""

import re

from pipeline.monitor.record import Record
from pipeline.monitor.routes import Routes
from pipeline.monitor.usage import Usages
from pipeline.runtime.journal import Journals
from pipeline.runtime.reports import Board
from tests.monitor import sources, tables

_HINT = "python -m tests.monitor.tables writes it anew"


def _first_cells(name: str) -> list[str]:
    """Return the first cell of each row of a table, without its heading."""
    rows = re.findall(r"^\| `?([^`|]+?)`? \|", tables.section(name), re.MULTILINE)
    return rows[1:]


def test_every_setting_is_listed() -> None:
    """The table of settings is the one that the program's own table gives."""
    assert tables.section("settings") == tables.settings(), _HINT


def test_every_metric_is_listed(board: Board) -> None:
    """The table of metrics is the one that a scrape gives."""
    assert tables.section("metrics") == tables.metrics(board), _HINT


def test_every_exit_code_is_listed() -> None:
    """All codes, and no others, have a row."""
    assert {int(cell) for cell in _first_cells("exit codes")} == set(tables.exit_codes())


def test_every_path_is_listed(board: Board, journals: Journals, record: Record) -> None:
    """All paths that the server answers have a row; the page's own files share one."""
    answered = {path for path in Routes(board, journals, record, Usages()).table() if "." not in path}
    assert set(_first_cells("paths")) == answered


def test_every_log_event_is_listed_with_its_fields() -> None:
    """Each event that the source logs has a row that names each of its fields."""
    logged: dict[str, set[str]] = {}
    for name, fields in sources.events():
        logged.setdefault(name, set()).update(fields)
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*)\|", tables.section("events"), re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}
    assert listed == logged
