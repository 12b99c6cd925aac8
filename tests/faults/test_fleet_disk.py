"""A server with no room: sidecars keep what they have, the pool reads on, and nothing is lost or doubled."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from pipeline import config
from pipeline.fleet import buckets, models, names, stream
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from tests.faults.namespace import fill, needs_namespace, small_disk
from tests.fleet.configured import Job, linked
from tests.support.fleet import Pool, Sending, asked, has_learned, member, ready
from tests.support.nats import NatsServer, free_port, needs_nats
from tests.support.sidecar import Sidecar
from tests.support.stream import Stream
from tests.support.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.long, needs_nats]

SETTINGS = {"VMAFX_FLEET_BYTES": str(4 << 20)}
BUFFER, RING, BACKLOG = 100_000, 1024, 3000
"""Rows of the sidecar's ring and of the pool's, and how many wait for the paused pool: more than it has room for."""
_FAR = 500_000
"""Samples of the sidecar are numbered from here on."""
_PLENTY, _SCARCE = 100_000_000, 100_000
"""Bytes that the account may store: enough, and less than it holds."""


def account(most: int) -> str:
    """Return the configuration of a server whose only account may store so many bytes."""
    user = "users: [{user: a, password: a}]"
    return f"accounts {{ A {{ jetstream {{ max_file: {most} }}, {user} }} }}\nno_auth_user: a\n"


class Crew:
    """A sidecar that is sent samples, and a pool, which is paused while samples wait for it in the stream."""

    def __init__(self, sidecar: Sidecar, pool: Pool, sending: Sending, sent: Stream) -> None:
        self.sidecar, self.pool, self._sending, self.sent = sidecar, pool, sending, sent

    def gather(self) -> None:
        """Have more in the stream than the paused pool has room for."""
        assert self.pool.command("pause").returncode == 0
        self.pool.wait_for(lambda: self.pool.reported().trainer.phase == "paused")
        self._sending.send(BACKLOG)
        self.sent.wait_for_more(100)

    def has_no_room(self, sent: str, held: str) -> None:
        """Check that both say so, `sent` and `held` being the kinds, and that the pool reads what there is."""
        self.sent.wait_for_more(100)
        self.sidecar.wait_for(lambda: self.sidecar.reported().uplink.failing == sent)
        self.pool.wait_for(lambda: self.pool.reported().ingest.failing == held)
        assert f"fleet {sent}" in self.sidecar.health_problem("uplink")
        assert self.pool.command("resume").returncode == 0
        self.pool.wait_for(lambda: self.pool.reported().trainer.cursor >= self._sending.sent)
        self.sent.wait_for_more(100)
        assert self.sidecar.reported().healthy
        assert self.pool.reported().healthy

    def has_all(self) -> None:
        """Check that all of it reaches the pool by itself, each sample once."""

        def is_quiet() -> bool:
            uplink, pool = self.sidecar.reported().uplink, self.pool.reported()
            return (
                not (uplink.behind or uplink.failing or pool.ingest.failing)
                and uplink.sent >= len(self.sent.answered)
                and has_learned(self.pool, uplink.sent + self._sending.sent)
            )

        eventually(is_quiet, explain=lambda: (self.sidecar.reported().uplink, self.pool.reported().ingest))
        uplink, pool = self.sidecar.reported().uplink, self.pool.reported()
        assert pool.ingest.accepted == pool.trainer.cursor == len(self.sent.answered) + self._sending.sent
        assert (uplink.missed, uplink.left_out, pool.ingest.lost) == (0, 0, 0)
        assert self.sidecar.fsck() == self.pool.fsck() == []


@contextmanager
def crew(root: Path, server: NatsServer) -> Iterator[Crew]:
    """Have both at work for a while."""
    home = root / "one"
    home.mkdir()
    with (
        Sidecar(home, **member(server, "one", **SETTINGS, VMAFX_SIDECAR_REPLAY_CAPACITY=str(BUFFER))) as sidecar,
        Pool(root / "pool", server, **SETTINGS, VMAFX_SIDECAR_REPLAY_CAPACITY=str(RING)) as pool,
    ):
        pool.launch()
        sidecar.start()
        ready(pool)
        yield Crew(sidecar, pool, Sending(server, "two"), Stream(sidecar, first=_FAR))


def test_an_account_without_room_is_full_until_it_has_some(tmp_path: Path) -> None:
    """By its limit, which a reload lowers and raises; nobody has to be restarted."""
    with NatsServer(tmp_path / "nats", account(_PLENTY)) as server, crew(tmp_path, server) as both:
        file = server.directory / "nats.conf"
        text = file.read_text()
        with both.sent:
            both.gather()
            file.write_text(text.replace(str(_PLENTY), str(_SCARCE)))
            server.reload()
            both.has_no_room("full", "full")
            file.write_text(text)
            server.reload()
            both.sent.wait_for_more(100)
        both.has_all()


@contextmanager
def on_small_disk(root: Path) -> Iterator[tuple[NatsServer, Path]]:
    """Start a server that stores on a disk of 8 MiB; give that too."""
    port, directory = free_port(), root / "nats"
    for made in (directory, root / "disk"):
        made.mkdir()
    with small_disk(root / "disk", "8m") as disk:
        (directory / "nats.conf").write_text(f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{disk}/store" }}\n')
        with NatsServer(directory, port=port) as server:
            yield server, disk


def spoil_leases(server: NatsServer) -> None:
    """Take what room is left in the last page of the leases' file: they are small, and would fit in for a minute."""

    async def put(client: Client) -> None:
        bucket = await client.jetstream().key_value(names.leases("default"))
        with pytest.raises(TimeoutError):
            await bucket.put("page", bytes(1 << 14))

    asked(server, put)


@needs_namespace
def test_a_full_disk_needs_room_and_a_restart_of_the_server(tmp_path: Path) -> None:
    """Until then the server answers nobody who wants to store something, and lets read what it has."""
    with on_small_disk(tmp_path) as (server, disk), crew(tmp_path, server) as both:
        with both.sent:
            both.gather()
            filler = fill(disk)
            spoil_leases(server)
            both.has_no_room("slow", "slow")
            filler.unlink()
            server.stop()
            server.start()
            both.sent.wait_for_more(100)
        both.has_all()


def kind_of(link: Link, job: Job[object]) -> str:
    """Return what is said to be wrong with a job; empty for nothing."""
    try:
        link.begin(job).result()
    except FleetFault as fault:
        return fault.kind
    return ""


@needs_namespace
def test_what_cannot_be_made_on_a_full_disk_is_full(tmp_path: Path) -> None:
    """A consumer, a bucket; what is sent is not answered, and what is there can be looked at."""
    with on_small_disk(tmp_path) as (server, disk):
        settings = config.load({"VMAFX_FLEET_URL": server.url, "VMAFX_FLEET_NODE": "one"} | SETTINGS)

        async def send(client: Client) -> None:
            await client.jetstream().publish(names.subject("default", "one"), bytes(10_000))

        with linked(settings) as link:
            assert kind_of(link, lambda client: stream.ensure(client, settings)) == ""
            fill(disk)
            assert kind_of(link, send) == "slow"
            assert kind_of(link, lambda client: stream.read_from(client, "default", "pool", 1)) == "full"
            assert kind_of(link, lambda client: buckets.ensure(client, models.bucket(settings))) == "full"
            assert kind_of(link, lambda client: stream.look(client, "default")) == ""


def test_a_stream_that_its_account_has_no_room_for_is_full(tmp_path: Path) -> None:
    """The limit of the account is below VMAFX_FLEET_BYTES."""
    with NatsServer(tmp_path / "nats", account(_SCARCE)) as server:
        settings = config.load({"VMAFX_FLEET_URL": server.url, "VMAFX_FLEET_NODE": "one"} | SETTINGS)
        with linked(settings) as link:
            assert kind_of(link, lambda client: stream.ensure(client, settings)) == "full"
