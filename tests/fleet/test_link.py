"""The connection and the stream, with a real server."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from pipeline import config
from pipeline.config import Settings
from pipeline.fleet import link as link_module
from pipeline.fleet import names, stream
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link, ask
from tests.support.nats import NatsServer
from tests.support.waiting import PATIENCE_S, eventually


def settings(server: NatsServer, **others: str) -> Settings:
    """Return the settings of a sidecar in the fleet."""
    return config.load({"VMAFX_FLEET_URL": server.url, "VMAFX_FLEET_NODE": "one"} | others)


@pytest.fixture
def link(server: NatsServer) -> Iterator[Link]:
    """Connect."""
    made = Link(settings(server), "one")
    eventually(lambda: made.is_up)
    yield made
    made.close()


def send(link: Link, payload: bytes, message_id: str) -> int:
    """Send a message; return its sequence."""

    async def job(client: Client) -> int:
        ack = await client.jetstream().publish(
            names.subject("default", "one"), payload, headers={"Nats-Msg-Id": message_id}
        )
        return ack.seq

    return link.begin(job).result()


def received(link: Link, durable: str, sequence: int, count: int) -> list[bytes]:
    """Return so many messages from a sequence on, without acknowledging any."""

    async def job(client: Client) -> list[bytes]:
        await stream.read_from(client, "default", durable, sequence)
        reader = await client.jetstream().pull_subscribe_bind(durable, names.stream("default"))
        return [message.data for message in await reader.fetch(count, timeout=PATIENCE_S)]

    return link.begin(job).result()


def test_a_message_is_stored_once_and_read_from_where_one_likes(server: NatsServer, link: Link) -> None:
    """What is sent again under its name is known; a reader begins where it says, whoever read before."""
    found = link.begin(lambda client: stream.ensure(client, settings(server))).result()
    assert (found.last, found.messages) == (0, 0)
    assert [send(link, b"a", "1"), send(link, b"b", "2"), send(link, b"a", "1")] == [1, 2, 1]
    assert received(link, "pool", 1, 2) == [b"a", b"b"]
    assert received(link, "pool", 2, 1) == [b"b"]
    again = link.begin(lambda client: stream.ensure(client, settings(server))).result()
    assert (again.made, again.last) == (found.made, 2)


def test_limits_follow_the_settings(server: NatsServer, link: Link) -> None:
    """Those of a stream that is there already, too."""
    link.begin(lambda client: stream.ensure(client, settings(server))).result()
    wanted = settings(server, VMAFX_FLEET_BYTES="2097152", VMAFX_FLEET_DAYS="1")
    link.begin(lambda client: stream.ensure(client, wanted)).result()

    async def config_of(client: Client) -> tuple[float | None, int | None]:
        info = await client.jetstream().stream_info(names.stream("default"))
        return info.config.max_age, info.config.max_bytes

    assert link.begin(config_of).result() == (86400, 2097152)


def test_purging_a_node_leaves_the_others(server: NatsServer, link: Link) -> None:
    """By subject."""
    link.begin(lambda client: stream.ensure(client, settings(server))).result()

    async def job(client: Client) -> int:
        for node in ("one", "two", "one"):
            await client.jetstream().publish(names.subject("default", node), b"x")
        await stream.purge(client, "default", "one")
        return (await stream.look(client, "default")).messages

    assert link.begin(job).result() == 1


def test_a_lost_connection_is_made_again_and_says_meanwhile_what_is_wrong(server: NatsServer, link: Link) -> None:
    """Nothing waits for a server that is not there."""
    server.kill()
    eventually(lambda: not link.is_up)
    with pytest.raises(FleetFault) as raised:
        link.begin(lambda client: stream.look(client, "default")).result()
    assert raised.value.kind == "down"
    server.start()
    eventually(lambda: link.is_up)
    assert link.fault is None


def test_faults_are_told_apart(link: Link) -> None:
    """By what the server answers, or does not."""

    async def slow(_client: Client) -> None:
        await asyncio.sleep(60)

    for job, kind in ((lambda client: stream.look(client, "nobody"), "lost"), (slow, "slow")):
        with pytest.raises(FleetFault) as raised:
            link.begin(job, limit_s=1.0).result()
        assert raised.value.kind == kind


def fault_with(server: NatsServer, **others: str) -> FleetFault:
    """Return what is said of a connection that does not come."""
    with pytest.raises(FleetFault) as raised:
        ask(settings(server, **others), "one", lambda client: client.flush())
    return raised.value


def test_a_server_that_does_not_encrypt_is_not_talked_to_where_tls_is_asked_for(server: NatsServer) -> None:
    """Else anybody on the way could have the samples, by saying that there is no TLS."""
    fault = fault_with(server, VMAFX_FLEET_URL=server.url.replace("nats://", "tls://"))
    assert (fault.kind, "does not encrypt" in str(fault)) == ("local", True)


@pytest.mark.parametrize("name", ["VMAFX_FLEET_KEY", "VMAFX_FLEET_CA"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", "a directory"])
def test_a_key_or_certificate_that_cannot_be_used_is_named(
    server: NatsServer, tmp_path: Path, name: str, content: bytes | str | None
) -> None:
    """Missing, empty, something else, or no file: it lies here, and not with the server."""
    path = tmp_path / "given"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    fault = fault_with(server, **{name: str(path)})
    assert (fault.kind, str(path) in str(fault)) == ("local", True), fault


def test_a_server_that_is_halted_keeps_nobody_from_the_others(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a command that asks once: whichever it dials first."""
    monkeypatch.setattr(link_module, "_DIAL_S", 0.5)
    with NatsServer(tmp_path / "halted") as halted:
        os.kill(halted.process.pid, signal.SIGSTOP)
        both = settings(server, VMAFX_FLEET_URL=f"{halted.url},{server.url}")
        for _ in range(6):
            ask(both, "one", lambda client: client.flush())
