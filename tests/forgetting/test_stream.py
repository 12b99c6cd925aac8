"""`vmafx-sidecar forget` in a pool: a node or a tenant goes from the stream, too, by one command."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.fleet import stream
from pipeline.forgetting.selection import Selection
from pipeline.runtime import control, messages, saved_state
from tests.support.fleet import Pool, Sending, asked, member, ready, taken
from tests.support.nats import NatsServer
from tests.support.sidecar import Sidecar
from tests.support.stream import numbered

pytestmark = pytest.mark.processes


@pytest.fixture
def pool(tmp_path: Path, server: NatsServer) -> Iterator[Pool]:
    """Run a pool."""
    with Pool(tmp_path / "pool", server) as started:
        started.launch()
        ready(started)
        yield started


@pytest.fixture
def one(tmp_path: Path, server: NatsServer, pool: Pool) -> Iterator[Sidecar]:
    """Run a sidecar that shares its samples with the pool as the node `one`."""
    (tmp_path / "one").mkdir()
    assert pool.position().made
    with Sidecar(tmp_path / "one", **member(server)) as started:
        started.start()
        yield started


def share(sidecar: Sidecar, first: int, count: int) -> None:
    """Have a sidecar learn from numbered samples, until all of them are in the stream."""
    enough = sidecar.reported().uplink.sent + count
    with sidecar.client() as client:
        assert all(each["ok"] for each in client.ask_all(numbered(number) for number in range(first, first + count)))
    sidecar.wait_for(lambda: sidecar.reported().uplink.sent >= enough)


def kept(pool: Pool) -> set[int]:
    """Return which samples are in the pool's ring; of one that was removed, the place alone is."""
    return set(taken(pool)) - {0}


def nodes(server: NatsServer) -> dict[str, int]:
    """Return how many messages the stream has, by node."""
    found: dict[str, int] = asked(server, lambda client: stream.purge(client, "default", only_count=True))
    return found


def forget(pool: Pool, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """Give the command; return its receipts."""
    done = pool.command("forget", *arguments)
    assert done.returncode == code, done.stderr + done.stdout
    found: list[dict[str, Any]] = []
    decoder, text = json.JSONDecoder(), done.stdout.strip()
    while text:
        receipt, end = decoder.raw_decode(text)
        found, text = [*found, receipt], text[end:].strip()
    return found


def test_a_node_goes_from_stream_ring_and_saved_state(pool: Pool, one: Sidecar, server: NatsServer) -> None:
    """Read or not yet; the others stay, and what the node sends afterwards is taken, and nothing counted as lost."""
    two = Sending(server, "two")
    two.send(100)
    share(one, 1001, 200)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 300 and not pool.reported().trainer.lag)
    assert pool.stop() == 0
    share(one, 1201, 200)
    before = nodes(server)
    (counted,) = forget(pool, "--node=one", "--dry-run")
    assert counted["removed"]["stream"] == {"messages": before["one"]}
    assert nodes(server) == before
    (receipt,) = forget(pool, "--node=one")
    assert receipt["removed"]["stream"] == {"messages": before["one"]}
    assert receipt["removed"]["memory"]["ring"] == counted["removed"]["memory"]["ring"] == 200
    assert receipt["not_reached"] == []
    assert [each for each in receipt["stays"] if "the server's own files" in each]
    assert nodes(server) == {"two": before["two"]}
    assert list(pool.position().senders) == ["two"]
    saved, _ = saved_state.load(pool.checkpoints / "state")
    assert saved is not None
    assert list(messages.decode_position(saved.stream).senders) == ["two"]
    pool.launch()
    share(one, 1401, 100)
    two.send(50)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 450)
    report = pool.reported().ingest
    assert (report.lost, report.forgotten) == (0, 0)
    assert kept(pool) == {*range(1, 151), *range(1401, 1501)}


def test_on_a_pool_at_work(pool: Pool, one: Sidecar, server: NatsServer) -> None:
    """It goes on reading; what was sent before and comes only now is kept out, and counted."""
    old = Sending(server, "old")
    old.send(50)
    share(one, 1001, 100)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 150)
    forget(pool, "--node=old")
    old.send(20)
    share(one, 1101, 100)
    pool.wait_for(lambda: pool.is_well() and pool.reported().ingest.accepted == 250)
    pool.wait_for(lambda: pool.reported().ingest.forgotten == 20)
    assert pool.reported().ingest.lost == 0
    assert kept(pool) == set(range(1001, 1201))
    assert pool.fsck() == []


def test_a_tenant_goes_whole(pool: Pool, server: NatsServer) -> None:
    """Of all nodes; another tenant's name, and a name that no node has, remove nothing."""
    one, two = Sending(server, "one"), Sending(server, "two")
    one.send(50)
    two.send(50)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 100)
    before = nodes(server)
    for arguments in (("--tenant=B",), ("--node=*",), ("--node=>",), ("--node=one.*",), ("--node=one", "--tenant=B")):
        (receipt,) = forget(pool, *arguments)
        assert receipt["removed"]["stream"] == {"messages": 0}
    assert nodes(server) == before
    (receipt,) = forget(pool, "--tenant=default")
    assert receipt["removed"]["stream"] == {"messages": sum(before.values())}
    assert nodes(server) == {}
    assert pool.position().senders == {}


@pytest.mark.parametrize(
    "arguments", [("--job=1005",), pytest.param(("--node=one", "--before=2100-01-01"), marks=pytest.mark.long)]
)
def test_what_is_smaller_stays_there_and_is_left_out(
    pool: Pool, one: Sidecar, server: NatsServer, arguments: tuple[str, ...]
) -> None:
    """The receipt says so; the pool reads the messages, and takes none of those samples from them."""
    assert pool.stop() == 0
    share(one, 1001, 50)
    before = nodes(server)
    (receipt,) = forget(pool, *arguments)
    assert receipt["removed"]["stream"] == {"messages": 0}
    assert [each for each in receipt["stays"] if "stream" in each]
    assert nodes(server) == before
    gone = {1005} if "--job=1005" in arguments else set(range(1001, 1051))
    pool.launch()
    pool.wait_for(lambda: pool.reported().ingest.forgotten == len(gone))
    pool.wait_for(lambda: pool.reported().ingest.accepted == 50 - len(gone))
    assert kept(pool) == set(range(1001, 1051)) - gone


def test_while_the_server_is_away(pool: Pool, server: NatsServer) -> None:
    """The rest goes, the receipt names what is left, and the next command does it, whatever it is asked."""
    one = Sending(server, "one")
    one.send(50)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 50)
    server.kill()
    (receipt,) = forget(pool, "--node=one", code=1)
    assert receipt["removed"]["memory"]["ring"] == 50
    assert [each.split(": ")[:3] for each in receipt["not_reached"]] == [["stream", server.url, "down"]]
    server.start()
    assert nodes(server) == {"one": 5}
    left, asked_for = forget(pool, "--job=nobody")
    assert (left["selection"]["node"], left["removed"]["stream"]) == ("one", {"messages": 5})
    assert asked_for["removed"]["stream"] == {"messages": 0}
    assert nodes(server) == {}
    assert not (pool.checkpoints / "state" / "forget.json").exists()


def test_without_the_pools_settings(pool: Pool, server: NatsServer) -> None:
    """The command sees that it is about a pool, and says what it needs."""
    one = Sending(server, "one")
    one.send(10)
    pool.wait_for(lambda: pool.reported().ingest.accepted == 10)
    for name in ("VMAFX_POOL", "VMAFX_FLEET_URL"):
        given = {key: value for key, value in pool.environment.items() if key != name}
        done = subprocess.run(
            [*pool.run_command()[:3], "forget", "--node=one"], env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        (problem,) = json.loads(done.stdout)["not_reached"]
        assert "VMAFX_POOL, and VMAFX_FLEET_*" in problem
    assert nodes(server) == {"one": 1}
    (receipt,) = forget(pool, "--node=one")
    assert receipt["removed"]["stream"] == {"messages": 1}


def test_a_sidecar_has_no_stream_of_its_own(one: Sidecar, server: NatsServer) -> None:
    """What it has sent is the pool's to remove; its own rule names the node, and is lifted by the name."""
    share(one, 1001, 50)
    (receipt,) = forget(one, "--node=one")  # type: ignore[arg-type]
    assert "stream" not in receipt["removed"]
    (rule,) = control.read(one.checkpoints / "state").control.forgotten
    assert rule.names() == Selection(node="one").tombstone(0).names()
    assert one.command("forget", "--lift", "--node=one").returncode == 0
    assert sum(nodes(server).values()) > 0
