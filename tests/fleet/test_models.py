"""What a pool says of its newest model, with a real server: by compare and swap, read by nodes that may do little."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import nkeys
import pytest
from nats.aio.client import Client

from pipeline import config
from pipeline.config import Settings
from pipeline.fleet import models, names
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.link import Link
from pipeline.fleet.models import Announcement, announce, replaces
from pipeline.fleet.permissions import of_node
from tests.support.nats import NatsServer, needs_nats
from tests.support.waiting import eventually

BASE = "ab" * 32


def said(version: int, *, pool: str = "a", registry: str = "file:///a", day: int | None = None) -> Announcement:
    """Return what a pool says of a version, made on a day of May 2026; version 0: it is withdrawn."""
    return Announcement(
        digest=f"sha256:{version:064x}" if version else "",
        base_sha256=BASE,
        sha256=f"{version:064x}",
        version=version,
        created=f"2026-05-{day or version or 1:02d}T00:00:00Z",
        pool=pool,
        registry=registry,
    )


def elsewhere(version: int) -> Announcement:
    """Return the same of another pool with another registry."""
    return said(version, pool="b", registry="file:///b")


@pytest.mark.parametrize(
    ("mine", "there", "follows"),
    [
        (said(1), None, True),
        (said(0), None, False),
        (said(2), said(1), True),
        (said(1), said(1), False),
        (said(1), said(2), True),  # its registry was asked later: 2 was rolled back
        (said(0), said(2), True),
        (said(1), said(0), True),
        (elsewhere(3), said(9, day=2), True),  # made later, whatever its version
        (said(9, day=2), elsewhere(3), False),
        (said(9, day=3), elsewhere(3), False),  # made at the same time: the first stays
        (said(0), elsewhere(3), False),
        (said(1), elsewhere(0), True),
        (said(2, pool="b"), said(3), True),  # two pools, one registry
    ],
)
def test_what_replaces_what(mine: Announcement, there: Announcement | None, *, follows: bool) -> None:
    """Within a registry what it leads to, between registries the time; what is withdrawn replaces no other's."""
    assert replaces(mine, there) is follows


def test_a_withdrawn_model_is_not_said_again_by_another_pool() -> None:
    """The same model in another registry."""
    withdrawn = Announcement(digest="", base_sha256=BASE, sha256=said(4).sha256, pool="a", registry="file:///a")
    assert not replaces(elsewhere(4), withdrawn)


def settings(server: NatsServer, **others: str) -> Settings:
    """Return the settings of a pool."""
    return config.load({"VMAFX_FLEET_URL": server.url, "VMAFX_POOL": "a"} | others)


@pytest.fixture
def connect(server: NatsServer) -> Iterator[Callable[[], Link]]:
    """Return what connects."""
    made: list[Link] = []

    def dial() -> Link:
        link = Link(settings(server), f"pool-{len(made)}")
        made.append(link)
        eventually(lambda: link.is_up)
        return link

    yield dial
    for link in made:
        link.close()


def seen(link: Link) -> Announcement | None:
    """Return what a sidecar reads."""
    return link.begin(lambda client: models.read(client, "default", BASE)).result().said


def test_a_pool_says_what_is_newest(server: NatsServer, connect: Callable[[], Link]) -> None:
    """Into a bucket that was not there; nothing, a newer, an older one by a rollback, and that there is none."""
    link = connect()
    with pytest.raises(FleetFault) as raised:
        seen(link)
    assert raised.value.kind == "lost"
    assert announce(link, settings(server), BASE, lambda: None) is None
    assert seen(link) is None
    for newest in (said(1), said(2), said(1), said(0)):
        assert announce(link, settings(server), BASE, lambda newest=newest: newest) == newest  # type: ignore[misc]
        assert seen(link) == newest


def test_of_two_pools_the_slower_does_not_put_an_older_one_back(
    server: NatsServer, connect: Callable[[], Link]
) -> None:
    """One has looked at the registry and is held up; another says what came after; then the first goes on."""
    slow, fast = connect(), connect()
    looked, goes_on, pointer = threading.Event(), threading.Event(), [said(4)]
    asked = []

    def newest() -> Announcement:
        found = pointer[0]
        asked.append(found)
        looked.set()
        goes_on.wait(20)
        return found

    outcome: list[Announcement | None] = []
    thread = threading.Thread(target=lambda: outcome.append(announce(slow, settings(server), BASE, newest)))
    thread.start()
    looked.wait(20)
    pointer[0] = said(5)
    announce(fast, settings(server), BASE, lambda: pointer[0])
    goes_on.set()
    thread.join()
    assert seen(fast) == said(5)
    assert asked == [said(4), said(5)]
    assert outcome == [said(5)]


def test_many_pools_at_once_end_with_the_newest(server: NatsServer, connect: Callable[[], Link]) -> None:
    """Each with a registry of its own, in the wrong order."""
    links = [connect() for _ in range(4)]

    def say(link: Link, number: int) -> None:
        mine = said(10 - number, pool=str(number), registry=str(number), day=20 - number)
        for _ in range(5):
            announce(link, settings(server), BASE, lambda: mine)

    threads = [threading.Thread(target=say, args=each) for each in zip(links, range(4), strict=True)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(links[0]) == said(10, pool="0", registry="0", day=20)


def test_what_cannot_be_read_counts_as_nothing_and_is_replaced(server: NatsServer, connect: Callable[[], Link]) -> None:
    """Foreign bytes, a digest that is none, what is of another base model, and a key that was deleted."""
    link = connect()
    announce(link, settings(server), BASE, lambda: said(1))
    other = b'{"digest":"","base_sha256":"%s"}' % (b"cd" * 32)
    for value, headers in ((b"{", None), (b'{"digest":"../x","base_sha256":"%s"}' % BASE.encode(), None), (other, None),
                           (b"", {"KV-Operation": "DEL"})):  # fmt: skip

        async def put(client: Client, value: bytes = value, headers: dict[str, str] | None = headers) -> None:
            await client.jetstream().publish(names.newest_model("default", BASE), value, headers=headers)

        link.begin(put).result()
        assert seen(link) is None
        assert announce(link, settings(server), BASE, lambda: said(1)) == said(1)


def make_key(file: Path) -> str:
    """Make an nkey, its seed in a file; return its public part."""
    seed: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    file.write_bytes(seed)
    public: bytes = nkeys.from_seed(bytearray(seed)).public_key
    return public.decode()


@needs_nats
def test_a_node_needs_no_more_than_is_said(tmp_path: Path) -> None:
    """With exactly the permissions of a node it reads, and hears of changes; it cannot announce."""
    listed = of_node("default", "one", "")["users"][0]["permissions"]
    key = {user: make_key(tmp_path / user) for user in ("one", "pool")}
    users = [{"nkey": key["one"], "permissions": listed}, {"nkey": key["pool"]}]
    accounts = f"accounts {{ fleet {{ jetstream: enabled, users: {json.dumps(users)} }} }}"
    with NatsServer(tmp_path / "closed", accounts) as server:
        of = {
            "one": settings(server, VMAFX_POOL="", VMAFX_FLEET_NODE="one", VMAFX_FLEET_KEY=str(tmp_path / "one")),
            "pool": settings(server, VMAFX_FLEET_KEY=str(tmp_path / "pool")),
        }
        links = {user: Link(of[user], user) for user in key}
        pool, node = links["pool"], links["one"]
        try:
            eventually(lambda: pool.is_up and node.is_up)
            announce(pool, of["pool"], BASE, lambda: said(1))
            assert seen(node) == said(1)
            heard = threading.Event()

            async def listen(client: Client) -> None:
                async def hear(_message: object) -> None:
                    heard.set()

                await client.subscribe(f"$KV.{names.bucket('default')}.*", cb=hear)
                await client.flush()

            node.begin(listen).result()
            announce(pool, of["pool"], BASE, lambda: said(2))
            assert heard.wait(20)
            with pytest.raises(FleetFault):
                announce(node, of["one"], BASE, lambda: said(3))
            assert seen(pool) == said(2)
        finally:
            for link in links.values():
                link.close()
