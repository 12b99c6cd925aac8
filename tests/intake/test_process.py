"""A real pool that reads a real server's stream."""

import asyncio
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.checkpoints.names import file_of, published
from pipeline.config import load
from pipeline.data import BASE_MODEL
from pipeline.fleet import names, stream
from pipeline.fleet.message import pack
from pipeline.model.graph import load_base_model
from pipeline.model.runtime import OnnxModel
from pipeline.registry.registry import digest_of
from pipeline.shm.rows import RowBatch
from tests.support.fleet import (
    BASE,
    PLENTY,
    Pool,
    Sending,
    asked,
    has_all,
    has_learned,
    killed_behind,
    ready,
    rows_from,
    taken,
)
from tests.support.nats import NatsServer

pytestmark = pytest.mark.processes


def test_each_sample_is_learned_from_once_whoever_is_killed(tmp_path: Path, server: NatsServer) -> None:
    """Intake, trainer, server; while more comes."""
    sending = Sending(server)
    with Pool(tmp_path / "pool", server) as pool:
        pool.launch()
        ready(pool)
        sending.send(500)
        for role in ("ingest", "trainer", "ingest", "exporter"):
            pid = pool.signal(role, signal.SIGKILL)
            sending.send(300)
            pool.wait_for_another(role, pid)
        server.kill()
        pool.wait_for(lambda: pool.reported().ingest.failing)
        assert pool.reported().healthy
        server.start()
        sending.send(300)
        has_all(pool, sending)
        report = pool.reported()
        assert report.trainer.cursor == sending.sent
        assert (report.ingest.lost, report.ingest.failing) == (0, "")
        assert report.trainer.evicted_untrained == 0


def test_a_pool_that_has_lost_its_memory_goes_on_from_what_it_saved(tmp_path: Path, server: NatsServer) -> None:
    """What it had acknowledged since is read again: the saved weights do not know it."""
    sending = Sending(server)
    with Pool(tmp_path / "pool", server) as pool:
        pool.launch()
        ready(pool)
        sending.send(600)
        has_all(pool, sending)
        pool.wait_for(lambda: list((pool.checkpoints / "state").glob("state-*.bin")))
        read = pool.position().read
        sending.send(400)
        pool.wait_for(lambda: pool.position().read > read)
        pool.kill_all()
        pool.lose_memory()
        sending.send(200)
        pool.launch()
        ready(pool)
        has_all(pool, sending)


def test_a_stream_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path, server: NatsServer) -> None:
    """And a consumer that somebody deleted is made again."""
    sending = Sending(server)

    async def delete_consumer(client: object) -> None:
        await client.jetstream().delete_consumer(names.stream("default"), "pool-main")  # type: ignore[attr-defined]

    async def delete_stream(client: object) -> None:
        await client.jetstream().delete_stream(names.stream("default"))  # type: ignore[attr-defined]

    with Pool(tmp_path / "pool", server) as pool:
        pool.launch()
        ready(pool)
        sending.send(200)
        has_all(pool, sending)
        asked(server, delete_consumer)
        sending.send(200)
        has_all(pool, sending)
        made = pool.position().made
        asked(server, delete_stream)
        pool.wait_for(lambda: pool.position().made != made)
        sending.send(200)
        has_all(pool, sending)


def test_an_older_saved_state_is_gone_on_from(tmp_path: Path, server: NatsServer) -> None:
    """As a backup brings it back: what was learned since is read again, once, and no version is used twice."""
    sending = Sending(server)
    with Pool(tmp_path / "pool", server) as pool:
        state = pool.checkpoints / "state"
        pool.launch()
        ready(pool)
        sending.send(300)
        has_all(pool, sending)
        pool.wait_for(lambda: list(state.glob("state-*.bin")) and pool.reported().exporter.version)
        shutil.copytree(state, tmp_path / "backup")
        for _ in range(2):
            version = pool.reported().exporter.version
            sending.send(400)
            has_all(pool, sending)
            pool.wait_for(lambda least=version: pool.reported().exporter.version > least)  # type: ignore[misc]
        digests = {version: digest_of(file_of(pool.checkpoints, version)) for version in published(pool.checkpoints)}
        pool.kill_all()
        pool.lose_memory()
        shutil.rmtree(state)
        shutil.copytree(tmp_path / "backup", state)
        pool.launch()
        ready(pool)
        sending.send(400)
        has_all(pool, sending)
        pool.wait_for(lambda: pool.reported().exporter.version > max(digests))
        kept = set(digests) & set(published(pool.checkpoints))
        assert all(digest_of(file_of(pool.checkpoints, version)) == digests[version] for version in kept)


def test_what_is_stored_twice_is_learned_from_once(tmp_path: Path, server: NatsServer) -> None:
    """Beyond the server's window for resends: the same samples, in messages of the same and of another name."""
    window_s = 0.1

    async def make_stream(client: object) -> None:
        config = stream.config_of(load({"VMAFX_FLEET_URL": server.url}))
        await client.jetstream().add_stream(config.evolve(duplicate_window=window_s))  # type: ignore[attr-defined]

    async def send(client: object) -> None:
        js, subject = client.jetstream(), names.subject("default", "one")  # type: ignore[attr-defined]
        for name in ("a", "a", "b"):
            data = pack(rows_from(1, 50), base=BASE, target="true_score", sent=0)
            assert not (await js.publish(subject, data, headers={"Nats-Msg-Id": name})).duplicate
            await asyncio.sleep(10 * window_s)

    asked(server, make_stream)
    with Pool(tmp_path / "pool", server) as pool:
        pool.launch()
        ready(pool)
        asked(server, send)
        pool.wait_for(lambda: pool.position().read == 3 and pool.reported().ingest.resent == 100)
        assert taken(pool) == list(range(1, 51))
        assert pool.reported().ingest.lost == 0
        pid = pool.signal("ingest", signal.SIGKILL)
        asked(server, send)
        pool.wait_for_another("ingest", pid)
        pool.wait_for(lambda: pool.position().read == 6 and has_learned(pool, 50))
        assert taken(pool) == list(range(1, 51))
        assert pool.reported().trainer.cursor == 50


def test_a_second_pool_of_the_name_ends_and_says_why(tmp_path: Path, server: NatsServer) -> None:
    """With code 73; the first goes on. One of another name runs beside it."""
    with Pool(tmp_path / "a", server) as first, Pool(tmp_path / "b", server) as second:
        first.launch()
        ready(first)
        process = second.launch()
        assert process.wait(timeout=120) == 73
        assert "another pool named main is at work" in second.log()
        assert first.reported().healthy
        with Pool(tmp_path / "c", server, name="other") as third:
            third.launch()
            ready(third)
            assert first.reported().healthy


def test_the_trainer_is_waited_for_in_the_stream(tmp_path: Path, server: NatsServer) -> None:
    """A paused pool fills its ring once, and loses nothing."""
    sending = Sending(server)
    with Pool(tmp_path / "pool", server, VMAFX_SIDECAR_REPLAY_CAPACITY="1024") as pool:
        pool.launch()
        ready(pool)
        assert pool.command("pause").returncode == 0
        pool.wait_for(lambda: pool.reported().trainer.phase == "paused")
        sending.send(5000)
        pool.wait_for(lambda: pool.reported().ingest.unread > 0)
        assert pool.reported().ingest.accepted <= 1024
        assert pool.command("resume").returncode == 0
        pool.wait_for(lambda: pool.reported().trainer.cursor == 5000)
        assert pool.reported().trainer.evicted_untrained == 0


def test_what_the_stream_dropped_is_counted(tmp_path: Path, server: NatsServer) -> None:
    """By the senders' own count."""
    sending = Sending(server)
    with Pool(tmp_path / "pool", server) as pool:
        killed_behind(pool, sending)

        async def purge(client: object) -> None:
            js = client.jetstream()  # type: ignore[attr-defined]
            last = (await stream.look(client, "default")).last  # type: ignore[arg-type]
            await js.purge_stream(names.stream("default"), seq=last - 4)

        asked(server, purge)
        pool.launch()
        ready(pool)
        pool.wait_for(lambda: pool.reported().ingest.accepted == 150)
        assert pool.reported().ingest.lost == 250
        assert Counter(taken(pool)) == Counter([*range(1, 101), *range(351, 401)])


def test_the_hosts_nodes_are_named(tmp_path: Path, server: NatsServer) -> None:
    """A row is of the node on whose subject it came; whose samples do not fit the pool, and why, is its problem."""
    one, two = Sending(server, "one"), Sending(server, "two")

    async def misfit(client: object) -> None:
        data = pack(rows_from(900, 5), base="0" * 64, target="true_score", sent=0)
        await client.jetstream().publish(names.subject("default", "three"), data)  # type: ignore[attr-defined]

    with Pool(tmp_path / "pool", server) as pool:
        pool.launch()
        ready(pool)
        one.send(50)
        two.send(30)
        pool.wait_for(lambda: pool.reported().ingest.accepted == 80)
        assert {node: sender.taken for node, sender in pool.position().senders.items()} == {"one": 50, "two": 30}
        assert sorted(np.unique(pool.rows().node, return_counts=True)[1].tolist()) == [30, 50]
        asked(server, misfit)
        pool.wait_for(lambda: "three (of base model 000000000000, this pool" in pool.reported().ingest.problem)
        assert pool.reported().healthy


def test_a_sender_whose_scores_do_not_fit_is_named(tmp_path: Path, server: NatsServer) -> None:
    """Three measure what the base model says and ten points more, one makes its scores up: until it does so no more.

    Over restarts of either process; also where the trainer has come to trust it while there was no intake.
    """
    model, rng = OnnxModel(load_base_model(BASE_MODEL).serialized), np.random.default_rng(0)

    def send(nodes: tuple[str, ...], count: int, *, lying: str = "") -> None:
        async def job(client: object) -> None:
            js = client.jetstream()  # type: ignore[attr-defined]
            for _ in range(count):
                for node in nodes:
                    rows = RowBatch(256, 6)
                    rows.features[:] = rng.uniform(0, 1, (256, 6))
                    rows.score[:] = np.clip(model.predict(rows.features) + 10, 0, 100)
                    if node == lying:
                        rows.score[:] = rng.uniform(0, 100, 256)
                    rows.group[:] = rows.job[:] = rng.integers(1, 2**60, 8, np.uint64).repeat(32)
                    rows.arrival[:] = 1.75e9
                    await js.publish(names.subject("default", node), pack(rows, base=BASE, target="true_score", sent=0))

        asked(server, job)

    ring = {"VMAFX_FLEET_QUOTA": PLENTY, "VMAFX_SIDECAR_REPLAY_CAPACITY": "50000"}
    with Pool(tmp_path / "pool", server, **ring) as pool:
        pool.launch()
        ready(pool)
        send(("one", "two", "three", "odd"), 6, lying="odd")
        pool.wait_for(lambda: pool.reported().ingest.distrusted == ["odd"])
        assert "not learned from: odd" in pool.reported().ingest.problem
        pool.wait_for(lambda: has_learned(pool, 6 * 4 * 256))
        for role in ("trainer", "ingest"):
            pid = pool.signal(role, signal.SIGKILL)
            pool.wait_for_another(role, pid)
        pool.wait_for(lambda: pool.is_well() and pool.reported().ingest.distrusted == ["odd"])
        assert pool.command("pause").returncode == 0
        pool.wait_for(lambda: pool.reported().trainer.phase == "paused")
        send(("odd",), 60)
        pool.wait_for(lambda: pool.reported().ingest.accepted == (6 * 4 + 60) * 256)
        pid = pool.signal("ingest", signal.SIGSTOP)
        assert pool.command("resume").returncode == 0
        pool.wait_for(lambda: not pool.reported().trainer.distrusted)
        pool.signal("ingest", signal.SIGKILL)
        pool.wait_for_another("ingest", pid)
        pool.wait_for(lambda: not pool.reported().ingest.distrusted and pool.is_well())
