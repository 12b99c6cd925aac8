"""Three real servers with the configuration of `vmafx-sidecar fleet config --cluster`."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from nats.aio.client import Client

from pipeline import config
from pipeline.config import Settings
from pipeline.fleet import buckets, models, names, stream
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.lease import Holder, Lease
from pipeline.fleet.link import Link
from tests.fleet.configured import Job, configure, linked
from tests.support.nats import NatsServer, free_port, needs_nats
from tests.support.waiting import eventually

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
BYTES = "16777216"
LIMIT_S = 10


@needs_nats
@pytest.mark.processes
def test_one_of_three_servers_may_go(tmp_path: Path) -> None:
    """What was acknowledged is there, and a node goes on sending."""
    port = min(free_port(), 60000)
    options = [*(f"--host={host}" for host in HOSTS), f"--port={port}", f"--bytes={BYTES}"]
    done = configure(tmp_path, "--cluster", "--http=off", "--node=n1", *options)
    assert done.exit_code == 0, done.output
    variables = {
        "VMAFX_FLEET_URL": ",".join(f"tls://{host}:{port}" for host in HOSTS),
        "VMAFX_FLEET_CA": str(tmp_path / "ca.pem"),
        "VMAFX_FLEET_REPLICAS": "3",
        "VMAFX_FLEET_BYTES": BYTES,
    }
    pool_key, node_key = tmp_path / "pools" / "default" / "pool.nk", tmp_path / "nodes" / "default" / "n1.nk"
    pool = config.load(variables | {"VMAFX_POOL": "pool", "VMAFX_FLEET_KEY": str(pool_key)})
    node = config.load(variables | {"VMAFX_FLEET_NODE": "n1", "VMAFX_FLEET_KEY": str(node_key)})

    async def send(client: Client) -> int:
        return (await client.jetstream().publish(names.subject("default", "n1"), b"x")).seq

    with ExitStack() as stack:
        servers = [
            stack.enter_context(NatsServer(tmp_path / f"server-{host}", scheme="tls", port=port, host=host))
            for host in HOSTS
        ]
        reader, writer = (stack.enter_context(linked(settings)) for settings in (pool, node))
        eventually(lambda: succeeds(reader, partial(stream.ensure, settings=pool)))
        eventually(lambda: succeeds(writer, send))
        replicas = partial(replicas_of, settings=pool)
        eventually(lambda: succeeds(reader, partial(replicas, count=1)))
        eventually(lambda: succeeds(reader, partial(replicas, count=3)))
        before = reader.begin(lambda client: stream.look(client, "default"), LIMIT_S).result()
        servers[0].kill()
        eventually(lambda: succeeds(writer, send))
        eventually(lambda: succeeds(reader, lambda client: stream.look(client, "default")))
        after = reader.begin(lambda client: stream.look(client, "default"), LIMIT_S).result()
        assert (after.made, after.first) == (before.made, before.first)
        assert after.last > before.last


async def replicas_of(client: Client, settings: Settings, count: int) -> None:
    """Have both buckets with so many replicas, whether they are there with others or not at all."""
    for wanted in (models.bucket(settings), Lease("default", "pool", Holder("owner", "life")).bucket):
        bucket = await buckets.ensure(client, wanted.evolve(replicas=count))
        assert (await bucket.status()).stream_info.config.num_replicas == count


def succeeds(link: Link, job: Job[object]) -> bool:
    """Whether a job is done; a cluster takes a moment to agree on who leads."""
    try:
        link.begin(job, LIMIT_S).result()
    except FleetFault:
        return False
    return True
