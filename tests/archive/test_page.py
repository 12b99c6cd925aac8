"""docs/archive.md: its columns are those of the files, and its queries answer."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import structlog

from pipeline.archive.store import Store
from pipeline.archive.table import schema
from pipeline.archive.tail import Tail
from tests.archive.feed import Feed, sample, taken
from tests.support.processes import REPOSITORY

PAGE = (REPOSITORY / "docs" / "archive.md").read_text()
QUERIES = dict(re.findall(r"<!-- query (\w+) -->\n```sql\n(.*?)```", PAGE, re.DOTALL))

CODE = dict(re.findall(r"<!-- code (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def test_every_column_is_listed() -> None:
    """In the order of the files, with its type, and whether it is always there."""
    table = re.search(r"<!-- columns -->\n(.*?)<!-- end of columns -->", PAGE, re.DOTALL)
    assert table is not None
    listed = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table[1], re.MULTILINE))
    expected = {
        field.name: f"{field.type}{'' if field.nullable else ', required'}".replace(
            "fixed_size_list<element: float not null>[2]", "fixed_size_list<float>[n]"
        )
        for field in schema(2)
    }
    assert list(listed) == list(expected)
    assert listed == expected


@pytest.fixture
def ask(instance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what asks a query of the page, in a directory that holds an archive of two tenants and three models."""
    feed = Feed(instance, tmp_path / "archive")
    for version in (0, 1, 2):
        feed.moment = (100 * version, version)
        lines = [
            sample(
                10 * version + i, tenant_id=["acme", "b/c"][i % 2], node_id=f"n{i % 2}", codec="h264", height=1080,
                source_id="clip", predicted_score=(10 * version + i) % 101 + 1 + 2 * (i % 2),
            )
            for i in range(10)
        ]  # fmt: skip
        feed.send(*lines)
    store = Store(tmp_path / "archive", 90, 0, structlog.get_logger())
    tail = Tail(feed.settings, store.open())
    store.write(taken(tail), tail.position)
    monkeypatch.chdir(tmp_path)

    def answer(name: str, **changes: str) -> list[tuple[Any, ...]]:
        query = QUERIES[name]
        for old, new in changes.items():
            query = query.replace(old.replace("_", " "), new)
        table = duckdb.sql(query).to_arrow_table()
        return [tuple(row.values()) for row in table.to_pylist()]

    return answer


def test_there_are_five() -> None:
    """As the page says."""
    assert len(QUERIES) == 5
    assert set(CODE) == {"pandas", "polars"}


def test_volume(ask: Any) -> None:
    """A row for each tenant's day; names come back as they were."""
    found = ask("volume")
    assert [(row[1], row[2], row[3]) for row in found] == [("acme", 15, 15), ("b/c", 15, 15)]
    assert {str(row[0]) for row in found} == {datetime.now(UTC).date().isoformat()}


def test_nodes(ask: Any) -> None:
    """The worst node first, with its error."""
    assert [(node, samples, round(rmse, 9)) for node, samples, rmse in ask("nodes")] == [("n1", 15, 3), ("n0", 15, 1)]


def test_versions(ask: Any) -> None:
    """Before any was stable, then one row for each."""
    assert [(row[0], row[2], row[3]) for row in ask("versions")] == [(None, 10, 2), (1, 10, 2), (2, 10, 2)]


def test_hour(ask: Any) -> None:
    """With today in the place of the page's hour."""
    today = datetime.now(UTC).date().isoformat()
    found = ask(
        "hour", **{"2026-11-22_13:00:00+00": f"{today} 00:00:00+00", "2026-11-22_14:00:00+00": f"{today} 23:59:59+00"}
    )
    assert found == [("clip", "h264", 1080, 30, 0.0, 29.0)]


def test_missing(ask: Any, tmp_path: Path) -> None:
    """Nothing is; and when a tenant's file is gone, its samples are."""
    assert ask("missing") == []
    next((tmp_path / "archive").glob("tenant=b%2Fc/*/*.parquet")).unlink()
    assert [row[1:] for row in ask("missing")] == [(number, number) for number in range(1, 29, 2)]


@pytest.mark.usefixtures("ask")
@pytest.mark.parametrize("package", CODE)
def test_others_read_it(package: str) -> None:
    """The code of the page answers the first question as DuckDB does."""
    names: dict[str, Any] = {}
    exec(CODE[package], names)  # noqa: S102
    volume = names["volume"]
    rows = volume.reset_index().to_numpy().tolist() if package == "pandas" else volume.rows()
    today = datetime.now(UTC).date().isoformat()
    assert [(str(row[0]), row[1], row[2], row[3]) for row in rows] == [
        (today, "acme", 15, 15),
        (today, "b/c", 15, 15),
    ]
    assert [round(row[4], 9) for row in rows] == [14, 15]
