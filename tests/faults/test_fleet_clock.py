"""The clocks of a fleet are stepped by hours while it runs: nothing is lost, doubled, stuck or taken over."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.fleet.stream import look
from tests.faults.stepped_clock import SteppedServer, build, needs_compiler, needs_stepped_server
from tests.support.fleet import BASE, Pool, Sending, announced, asked, has_learned, killed_behind, member, ready, taken
from tests.support.nats import NatsServer, needs_nats
from tests.support.sidecar import Sidecar
from tests.support.stream import Stream, numbers

HOUR_S = 3600
STEPS = (5, -7, 0)
"""Hours from what it is that a clock is stepped to, one after the other."""

pytestmark = [pytest.mark.processes, pytest.mark.long, needs_nats]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Start a server."""
    with NatsServer(tmp_path / "nats") as started:
        yield started


@pytest.fixture
def stepped(tmp_path: Path) -> Iterator[SteppedServer]:
    """Start a server whose clock can be stepped."""
    with SteppedServer(tmp_path / "nats") as server:
        yield server


@needs_compiler
def test_clocks_of_a_sidecar_and_a_pool(tmp_path: Path, server: NatsServer) -> None:
    """In opposite directions: both go on in the same processes, and what the pool says of its models only grows."""
    library, home = build(tmp_path), tmp_path / "one"
    home.mkdir()
    clocks = [tmp_path / name for name in ("sidecar-clock", "pool-clock")]
    of_sidecar, of_pool = ({"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(clock)} for clock in clocks)
    registry = tmp_path / "registry"
    registry.mkdir()
    shared = {"VMAFX_SIDECAR_REPLAY_CAPACITY": "100000"}
    pool = Pool(tmp_path / "pool", server, **shared, **of_pool, VMAFX_REGISTRY_URL=registry.as_uri())
    with pool, Sidecar(home, **member(server), **shared, **of_sidecar) as sidecar:
        step_to(clocks, 0)
        pool.launch()
        sidecar.start()
        ready(pool)
        with Stream(sidecar) as stream:
            stream.wait_for_more(300)
            pool.wait_for(lambda: pool.reported().exporter.version and announced(server, BASE))
            pids = [{role: state.pid for role, state in each.reported().roles.items()} for each in (sidecar, pool)]
            for hours in STEPS:
                step_to(clocks, hours)
                seen, version = announced(server, BASE), pool.reported().exporter.version
                stream.wait_for_more(300)
                pool.wait_for(lambda least=version: pool.reported().exporter.version > least)  # type: ignore[misc]
                pool.wait_for(lambda least=seen: announced(server, BASE) > least)  # type: ignore[misc]
        all_came(pool, sidecar, stream)
        assert pids == [{role: state.pid for role, state in each.reported().roles.items()} for each in (sidecar, pool)]
        assert np.ptp(sidecar.rows().arrival) > max(STEPS) * HOUR_S, "the clock was never stepped"


def step_to(clocks: list[Path], hours: int) -> None:
    """Move the first clock forward, and the second back."""
    for clock, sign in zip(clocks, (1, -1), strict=True):
        clock.write_text(str(sign * hours * HOUR_S))


def all_came(pool: Pool, sidecar: Sidecar, stream: Stream) -> None:
    """Wait until nothing is under way, and check that the pool has each sample once."""
    pool.wait_for(
        lambda: (
            not sidecar.reported().uplink.behind
            and sidecar.reported().uplink.sent == len(stream.answered)
            and has_learned(pool, len(stream.answered))
        )
    )
    assert sorted(numbers(pool.rows())) == sorted(stream.answered)
    report = pool.reported().ingest
    assert (report.lost, report.over_quota, report.failing) == (0, 0, "")
    assert sidecar.fsck() == pool.fsck() == []


@needs_stepped_server
def test_the_clock_of_the_server(tmp_path: Path, stepped: SteppedServer) -> None:
    """While it runs and before a start: the pool keeps its lease, no sender waits for a time to come."""
    home = tmp_path / "one"
    home.mkdir()
    settings = {"VMAFX_SIDECAR_REPLAY_CAPACITY": "100000"}
    with Pool(tmp_path / "pool", stepped, **settings) as pool, Sidecar(home, **member(stepped), **settings) as sidecar:
        pool.launch()
        sidecar.start()
        ready(pool)
        pid = pool.pid("ingest")
        with Stream(sidecar) as stream:
            for hours in STEPS:
                stepped.step(hours * HOUR_S)
                stream.wait_for_more(300)
                arrive(pool, stream, hours)
            for hours in STEPS:
                stepped.kill()
                stepped.step(hours * HOUR_S)
                stepped.start()
                stream.wait_for_more(300)
                arrive(pool, stream, hours)
        all_came(pool, sidecar, stream)
        assert pool.pid("ingest") == pid


def arrive(pool: Pool, stream: Stream, hours: int) -> None:
    """Wait until all that has been answered is in the pool's ring, with the server's clock where it was stepped to."""
    count = len(stream.answered)
    pool.wait_for(lambda: pool.reported().ingest.accepted >= count)
    pool.wait_for(lambda: abs(pool.position().senders["one"].at - time.time() - hours * HOUR_S) < HOUR_S)


@needs_stepped_server
def test_a_clock_beyond_the_streams_days_loses_what_is_unread_and_says_so(
    tmp_path: Path, stepped: SteppedServer
) -> None:
    """Of the server: it drops what is too old by its clock. What was sent then is taken, with its clock right again."""
    sending = Sending(stepped)
    with Pool(tmp_path / "pool", stepped) as pool:
        killed_behind(pool, sending)
        stepped.kill()
        stepped.step((int(pool.settings.fleet_days) + 1) * 24 * HOUR_S)
        stepped.start()
        sending.send(50)
        pool.wait_for(lambda: asked(stepped, lambda client: look(client, "default")).messages == 5)
        stepped.step(0)
        sending.send(50)
        pool.launch()
        ready(pool)
        pool.wait_for(lambda: pool.reported().ingest.accepted == 200)
        assert pool.reported().ingest.lost == 300
        assert taken(pool) == [*range(1, 101), *range(401, 501)]
