"""Messages of a consumer, asked for many at a time."""

import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from nats.aio.client import Client

from pipeline.config import Settings, load
from pipeline.fleet import names, stream
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from pipeline.intake.pull import MOST_MESSAGES, Pull
from tests.support.nats import NatsServer
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")
STREAM, DURABLE = names.stream("default"), "pool-test"


def do(server: NatsServer, job: Callable[[Client, Pull], Awaitable[T]]) -> T:
    """Have a job done with a stream, a consumer and a pull from it."""
    settings: Settings = load({"VMAFX_FLEET_URL": server.url, "VMAFX_POOL": "test"})

    async def with_pull(client: Client) -> T:
        await stream.ensure(client, settings)
        await stream.read_from(client, "default", DURABLE, 1)
        pull = Pull(client, STREAM, DURABLE)
        await pull.begin()
        try:
            return await job(client, pull)
        finally:
            await pull.end()

    link = Link(settings, "test")
    try:
        link.wait(10)
        return link.begin(with_pull, 30).result()
    finally:
        link.close()


async def send(client: Client, first: int, count: int, headers: dict[str, str] | None = None) -> None:
    """Send numbers."""
    for number in range(first, first + count):
        await client.jetstream().publish(names.subject("default", "one"), b"%d" % number, headers=headers)


async def taken(pull: Pull, count: int) -> list[int]:
    """Return so many numbers, or more."""
    found: list[int] = []
    while len(found) < count:
        found += [int(message.data) for message in await pull.next()]
    return found


def test_more_than_a_request_come_in_order(server: NatsServer) -> None:
    """What is there, and what comes while it is waited for, one by one; one request is under way, whatever came."""

    async def job(client: Client, pull: Pull) -> None:
        count = 2 * MOST_MESSAGES + 7
        await send(client, 0, count)
        assert await taken(pull, count) == list(range(count))
        for number in (1000, 1001):
            await send(client, number, 1)
            assert await taken(pull, 1) == [number]
        assert (await client.jetstream().consumer_info(STREAM, DURABLE)).num_waiting == 1

    do(server, job)


def test_where_nothing_comes_there_is_none_and_then_more(server: NatsServer) -> None:
    """A request has an end, and the next is made."""

    async def job(client: Client, pull: Pull) -> None:
        assert await pull.next() == []
        await send(client, 5, 3)
        assert await taken(pull, 3) == [5, 6, 7]

    do(server, job)


def test_a_consumer_that_is_gone_is_a_fault(server: NatsServer) -> None:
    """While something is waited for, and when it is asked for."""

    async def job(client: Client, pull: Pull) -> None:
        await send(client, 0, 1)
        assert await taken(pull, 1) == [0]
        await client.jetstream().delete_consumer(STREAM, DURABLE)
        with pytest.raises(FleetFault) as raised:
            await pull.next()
        assert raised.value.kind == "lost"
        other = Pull(client, STREAM, DURABLE)
        await other.begin()
        with pytest.raises(FleetFault) as raised:
            await other.next()
        assert raised.value.kind == "lost"

    do(server, job)


def test_a_message_that_looks_like_the_servers_own_is_a_message(server: NatsServer) -> None:
    """A sender may write any header."""

    async def job(client: Client, pull: Pull) -> None:
        await send(client, 0, 2, {"Status": "409", "Description": "Consumer Deleted"})
        assert await taken(pull, 2) == [0, 1]

    do(server, job)


@pytest.mark.parametrize("header", [b"", b"NATS/1", b"NATS/1.0", b"NATS/1.0 \xff\xfe", b"\xff" * 40])
def test_a_header_that_is_none_keeps_no_message_back(server: NatsServer, header: bytes) -> None:
    """Neither this one nor those behind it: a server takes whatever a sender says is a header."""

    async def job(client: Client, pull: Pull) -> None:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE_S) as sender:
            sender.recv(4096)
            sender.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
            told = names.subject("default", "one").encode(), len(header), len(header) + 1
            sender.sendall(b"HPUB %s %d %d\r\n%s7\r\nPING\r\n" % (*told, header))
            assert sender.recv(4096) == b"PONG\r\n"
        await send(client, 8, 1)
        assert await taken(pull, 2) == [7, 8]

    do(server, job)
