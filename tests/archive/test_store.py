"""Files of the archive: whole, each sample once, whatever ends their writer and whenever."""

import errno
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import structlog

from pipeline.archive import names, position
from pipeline.archive.store import Store
from pipeline.archive.table import SCHEMA_VERSION, VERSION_KEY
from pipeline.archive.tail import Tail
from pipeline.runtime.locks import DirectoryTaken
from tests.archive.feed import Feed, numbers, rows, sample, taken
from tests.support.dying import completes, kill, refuse


@pytest.fixture
def feed(instance: str, tmp_path: Path) -> Feed:
    """Return a feed whose archive is in `tmp_path`."""
    return Feed(instance, tmp_path)


def store(root: Path, days: int = 90, size: int = 0) -> Store:
    """Return a store as a new process has it."""
    return Store(root, days, size, structlog.get_logger())


def archive(feed: Feed, root: Path) -> None:
    """Do what the archive's process does from its start until nothing is left."""
    one = store(root)
    tail = Tail(feed.settings, one.open())
    while batch := taken(tail):
        one.write(batch, tail.position)
    one.prune()
    one.close()


def test_columns_hold_what_was_sent(feed: Feed, tmp_path: Path) -> None:
    """Sequence, step, stable version, tenant and date beside the fields of the wire."""
    feed.moment = (17, 3)
    feed.send(sample(5, tenant_id="a/b", codec="av1", foo=1), sample(6))
    archive(feed, tmp_path)
    one, other = rows(tmp_path)
    today = names.date_of(time.time())
    assert (one["sequence"], one["step"], one["stable_version"], one["ring"]) == (0, 17, 3, feed.ring.identity)
    assert (one["tenant_id"], one["tenant"], one["date"], one["codec"]) == ("a/b", "a/b", today, "av1")
    assert (one["features"], one["true_score"], one["rest"]) == ([5 / 1024, 0.5], 5.0, '{"foo":1}')
    assert (other["tenant_id"], other["tenant"], other["rest"]) == (None, names.NO_TENANT, None)
    assert abs(one["arrival"].timestamp() - feed.ring.snapshot()[0].arrival[0]) < 1e-5
    path = next(tmp_path.glob("tenant=a%2Fb/*/part-*.parquet"))
    assert pq.read_schema(path).metadata[VERSION_KEY.encode()] == str(SCHEMA_VERSION).encode()
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("fault", [kill, refuse])
def test_a_fault_at_every_system_call(instance: str, tmp_path: Path, fault: object) -> None:
    """Killed, or refused by the disk, at each change of it: the next start has every sample exactly once."""
    for n in range(1, 200):
        root = tmp_path / str(n)
        root.mkdir()
        feed = Feed(instance, root)
        feed.send_numbers(0, 10, tenant_id="a")
        archive(feed, root)
        feed.send_numbers(10, 20, tenant_id="a")
        feed.send_numbers(20, 30, tenant_id="b")
        feed.send_numbers(30, 40)
        is_over = completes(lambda feed=feed, root=root: archive(feed, root), n, fault)  # type: ignore[arg-type, misc]
        found = numbers(root)  # at any moment what is there is whole, and there once
        assert len(found) == len(set(found))
        assert set(range(10)) <= set(found)
        feed.send_numbers(40, 50, tenant_id="b")
        archive(feed, root)
        assert numbers(root) == list(range(50))
        assert [path for path in root.rglob("*.tmp") if path.name != ".tmp"] == []
        feed.lose("ring")
        feed.lose("lines")
        if is_over:
            assert n > 20, "a write changes the disk more often than this"
            return
    pytest.fail("a write never came to its end")


def test_the_position_is_lost(feed: Feed, tmp_path: Path) -> None:
    """What the files' names say is enough for what the ring of bytes still holds."""
    feed.send_numbers(0, 10, tenant_id="a")
    archive(feed, tmp_path)
    for broken in (None, b"{", b"[]"):
        (tmp_path / position.FILE).unlink()
        if broken is not None:
            (tmp_path / position.FILE).write_bytes(broken)
        feed.send_numbers(feed.ring.head, feed.ring.head + 5, tenant_id="a")
        archive(feed, tmp_path)
        assert numbers(tmp_path) == list(range(feed.ring.head))


def test_memory_is_lost(feed: Feed, tmp_path: Path) -> None:
    """Another ring of bytes, another ring of samples, both: what follows is archived, and nothing twice."""
    sent = 0
    for lost in ("lines", "ring", "both"):
        feed.send_numbers(sent, sent + 10)
        archive(feed, tmp_path)
        for region in ("lines", "ring") if lost == "both" else (lost,):
            feed.lose(region)
        feed.send_numbers(sent + 10, sent + 15)
        sent += 15
        archive(feed, tmp_path)
        assert numbers(tmp_path) == list(range(sent))
    reached = position.read(tmp_path)
    assert reached is not None
    assert (reached.archived, reached.missed) == (sent, 0)


def test_what_is_written_over_is_counted(feed: Feed, tmp_path: Path) -> None:
    """The oldest is missing, no more than that, and the position says which samples."""
    feed.send_numbers(0, 10)
    archive(feed, tmp_path)
    for number in range(10, 90):
        feed.send(sample(number, padding="x" * 30_000))
    archive(feed, tmp_path)
    found = numbers(tmp_path)
    reached = position.read(tmp_path)
    assert reached is not None
    assert reached.missed == 90 - len(found) > 0
    (gap,) = reached.gaps
    assert found == [*range(10), *range(gap.last + 1, 90)]
    assert (gap.first, gap.last) == (10, 10 + reached.missed - 1)


def test_what_is_lost_is_known_before_it_is_read(feed: Feed, tmp_path: Path) -> None:
    """While nothing can be written, too, so that it is not news of the past."""
    tail = Tail(feed.settings, store(tmp_path).open())
    feed.send_numbers(0, 10)
    assert len(taken(tail)) == 10
    for number in range(10, 90):
        feed.send(sample(number, padding="x" * 30_000))
    lost = tail.overrun()
    assert lost > 0
    taken(tail)
    assert (tail.position.missed, tail.overrun()) == (lost, 0)


def test_files_go_when_they_are_old(tmp_path: Path) -> None:
    """By the day that is in the path: whole files, of that day and older ones; nothing else of the directory."""
    today = time.time()
    for days in (0, 1, 2, 3, 40):
        for tenant in ("a", "b"):
            directory = tmp_path / names.directory_of(tenant, today - 86400 * days)
            directory.mkdir(parents=True)
            (directory / names.file_name(1, days, days)).write_bytes(b"x")
    (tmp_path / "tenant=a" / "notes.txt").write_text("mine")
    overview = store(tmp_path, days=2).prune()
    kept = {part.date for part in names.parts(tmp_path)}
    assert kept == {names.date_of(today - 86400 * days) for days in (0, 1, 2)}
    assert (overview.files, overview.size, overview.removed) == (6, 6, 4)
    assert len(list(tmp_path.glob(names.PARTS))) == 6
    assert (tmp_path / "tenant=a" / "notes.txt").exists()


def test_the_oldest_files_go_when_they_are_too_many(tmp_path: Path) -> None:
    """Bytes are counted over all tenants, and a file is removed whole."""
    today = time.time()
    for days in range(5):
        directory = tmp_path / names.directory_of("ab"[days % 2], today - 86400 * days)
        directory.mkdir(parents=True)
        (directory / names.file_name(1, days, days)).write_bytes(bytes(100))
    overview = store(tmp_path, size=250).prune()
    assert sorted(part.first for part in names.parts(tmp_path)) == [0, 1]
    assert (overview.files, overview.size, overview.removed) == (2, 200, 3)


def test_two_archives_do_not_share_a_directory(tmp_path: Path) -> None:
    """The second is refused, and says what to do."""
    first = store(tmp_path)
    first.open()
    with pytest.raises(DirectoryTaken, match="VMAFX_SIDECAR_ARCHIVE_DIR"):
        store(tmp_path).open()


def test_a_directory_that_is_gone(feed: Feed, tmp_path: Path) -> None:
    """Nothing is made in its place, and nothing is lost when it is back."""
    one = store(tmp_path)
    tail = Tail(feed.settings, one.open())
    feed.send_numbers(0, 10)
    batch = taken(tail)
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(OSError, match="No such file") as error:
        one.write(batch, tail.position)
    assert error.value.errno == errno.ENOENT
    assert not tmp_path.exists()
    tmp_path.with_name("elsewhere").rename(tmp_path)
    one.write(batch, tail.position)
    assert numbers(tmp_path) == list(range(10))


def test_the_directory_is_made_once(tmp_path: Path) -> None:
    """For this user alone, and only where it is to be in a directory that is there."""
    store(tmp_path / "archive").open()
    assert (tmp_path / "archive").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileNotFoundError):
        store(tmp_path / "nowhere" / "archive").open()


@pytest.mark.parametrize(
    "tenant", ["", ".", "..", "a/b", "@none", "x" * 5000, pytest.param("é" * 90, id="long"), "a\nb", "CON", "a=b&c"]
)
def test_any_tenant_has_a_directory(feed: Feed, tmp_path: Path, tenant: str) -> None:
    """Whatever a node names it, below the archive, and not that of another tenant."""
    feed.send(sample(1, tenant_id=tenant), sample(2, tenant_id=tenant + "x"))
    archive(feed, tmp_path)
    assert [row["tenant_id"] for row in rows(tmp_path)] == [tenant, tenant + "x"]
    assert len(list(tmp_path.glob(names.PARTS))) == 2
