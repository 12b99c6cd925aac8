"""A real sidecar that shares its samples through a real server."""

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from pipeline import config
from pipeline.fleet import names, stream
from pipeline.ingest.dedup import name_hashes
from pipeline.shm.rows import HELD_OUT
from tests.support.fleet import asked, member, streamed
from tests.support.nats import NatsServer
from tests.support.sidecar import Sidecar
from tests.support.stream import Stream, numbered, numbers

pytestmark = pytest.mark.processes


def make_stream(server: NatsServer) -> None:
    """Make the stream, as a pool does."""
    asked(server, lambda client: stream.ensure(client, config.load({"VMAFX_FLEET_URL": server.url})))


def shared(server: NatsServer) -> list[int]:
    """Return which samples are in the stream, in its order."""
    return [number for rows in streamed(server) for number in numbers(rows)]


def fill(sidecar: Sidecar, first: int, count: int) -> None:
    """Send numbered samples."""
    with sidecar.client() as client:
        for number in range(first, first + count):
            assert client.ask(numbered(number))["ok"]


def test_samples_are_shared_once_with_what_is_held_out_marked(tmp_path: Path, server: NatsServer) -> None:
    """All of them, within the quota; over restarts of the uplink, in order or not."""
    make_stream(server)
    with Sidecar(tmp_path, **member(server)) as sidecar:
        sidecar.start()
        with Stream(sidecar) as sent:
            sent.wait_for_more(500)
            for number in (signal.SIGKILL, signal.SIGTERM):
                pid = sidecar.signal("uplink", number)
                sidecar.wait_for(lambda pid=pid: sidecar.pid("uplink") != pid)  # type: ignore[misc]
                sent.wait_for_more(300)
        sidecar.wait_for(lambda: sidecar.reported().uplink.behind == 0 and set(sent.answered) <= set(shared(server)))
        rows = sidecar.rows()
        assert set(shared(server)) == set(numbers(rows))
        held = {int(group) for rows in streamed(server) for group in rows.group[rows.flags & HELD_OUT != 0]}
        assert held, "the first groups are held out in turn"
        assert held <= set(sidecar.ring().snapshot()[0].group.tolist())
        assert sidecar.reported().uplink.missed == 0


def test_a_server_that_comes_late_gets_what_the_ring_holds(tmp_path: Path, server: NatsServer) -> None:
    """The sidecar answers and learns meanwhile; what was written over is counted as dropped."""
    server.kill()
    settings = member(server, VMAFX_SIDECAR_REPLAY_CAPACITY="1000")
    with Sidecar(tmp_path, **settings) as sidecar:
        sidecar.start()
        fill(sidecar, 1, 3500)
        sidecar.wait_for(lambda: sidecar.reported().trainer.cursor == 3500)
        sidecar.wait_for(lambda: sidecar.reported().uplink.failing == "down")
        assert "fleet down" in sidecar.health_problem("uplink")
        server.start()
        make_stream(server)
        sidecar.wait_for(lambda: not sidecar.reported().uplink.behind and not sidecar.reported().uplink.failing)
        report, there = sidecar.reported().uplink, shared(server)
        assert report.sent == len(there) == len(set(there))
        assert report.sent + report.missed == 3500
        assert max(there) == 3500
        assert report.missed > 1000


def test_without_a_stream_nothing_is_lost_until_a_pool_makes_one(tmp_path: Path, server: NatsServer) -> None:
    """A sidecar may be there before the pool."""
    with Sidecar(tmp_path, **member(server)) as sidecar:
        sidecar.start()
        fill(sidecar, 1, 100)
        sidecar.wait_for(lambda: sidecar.reported().uplink.failing == "lost")
        make_stream(server)
        sidecar.wait_for(lambda: sidecar.reported().uplink.sent == 100)
        assert sorted(shared(server)) == list(range(1, 101))


def test_more_than_the_quota_stays_here(tmp_path: Path, server: NatsServer) -> None:
    """Spread over the groups; counted."""
    make_stream(server)
    with Sidecar(tmp_path, **member(server, VMAFX_FLEET_QUOTA="10")) as sidecar:
        sidecar.start()
        fill(sidecar, 1, 2000)
        sidecar.wait_for(lambda: sidecar.reported().uplink.left_out > 1000)
        sidecar.wait_for(lambda: sidecar.reported().uplink.sent > 50)
        report = sidecar.reported().uplink
        assert report.sent < 600
        assert report.left_out <= 1400, "a minute's worth waits"
        counts = np.unique(np.concatenate([rows.group for rows in streamed(server)]), return_counts=True)[1]
        assert len(counts) > 1


def test_quarantined_samples_are_not_shared(tmp_path: Path, server: NatsServer) -> None:
    """What an operator does not trust here is nobody's."""
    make_stream(server)
    with Sidecar(tmp_path, **member(server)) as sidecar:
        sidecar.start()
        assert sidecar.command("quarantine", "--group", "source 3").returncode == 0
        fill(sidecar, 1, 200)
        sidecar.wait_for(lambda: sidecar.reported().uplink.sent + sidecar.reported().uplink.left_out == 200)
        groups = {int(group) for rows in streamed(server) for group in rows.group.tolist()}
        assert int(name_hashes(["source 3"])[0]) not in groups
        assert int(name_hashes(["source 4"])[0]) in groups


def test_a_full_stream_drops_the_oldest_and_keeps_taking(tmp_path: Path, server: NatsServer) -> None:
    """Never back-pressure."""
    make_stream(server)

    async def shrink(client: object) -> None:
        js = client.jetstream()  # type: ignore[attr-defined]
        info = await js.stream_info(names.stream("default"))
        await js.update_stream(info.config.evolve(max_bytes=80_000))
        await asyncio.sleep(0)

    asked(server, shrink)
    with Sidecar(tmp_path, **member(server)) as sidecar:
        sidecar.start()
        fill(sidecar, 1, 1500)
        sidecar.wait_for(lambda: sidecar.reported().uplink.sent == 1500)
        there = shared(server)
        assert 1500 in there
        assert 1 not in there
