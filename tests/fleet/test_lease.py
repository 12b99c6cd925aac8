"""One pool of a name at a time, with a real server."""

from collections.abc import Iterator

import pytest
from nats.aio.client import Client

from pipeline import config
from pipeline.fleet import buckets, lease
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.lease import Holder, Lease
from pipeline.fleet.link import Link
from tests.support.nats import NatsServer
from tests.support.waiting import eventually


@pytest.fixture
def link(server: NatsServer) -> Iterator[Link]:
    """Connect."""
    made = Link(config.load({"VMAFX_FLEET_URL": server.url}), "pool-one")
    eventually(lambda: made.is_up)
    yield made
    made.close()


def of(owner: str, life: str = "1", pool: str = "one") -> Lease:
    """Return the lease as a pool holds it."""
    return Lease("default", pool, Holder(owner, life))


def test_the_next_pool_of_the_name_has_it_once_it_is_given_back(link: Link) -> None:
    """At once; and one of another name whenever it likes."""
    first = of("a")
    link.begin(first.take).result()
    link.begin(of("b", pool="two").take).result()
    link.begin(first.give_back).result()
    link.begin(of("b").take).result()


def test_a_pool_that_comes_back_has_it_at_once(link: Link) -> None:
    """By its owner; the life before has lost it."""
    before = of("a", "1")
    link.begin(before.take).result()
    link.begin(of("a", "2").take).result()
    with pytest.raises(FleetFault) as raised:
        link.begin(before.renew).result()
    assert raised.value.kind == "moved"


def test_while_it_is_renewed_nobody_else_has_it(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks is told so as soon as it sees a renewal; one that is renewed no more ends."""
    monkeypatch.setattr(lease, "LASTS_S", 3.0)
    holder = of("a")
    link.begin(holder.take).result()
    asking = link.begin(of("b").take, 60.0)
    eventually(lambda: link.begin(holder.renew).result() is None and asking.done())
    with pytest.raises(FleetFault) as raised:
        asking.result()
    assert raised.value.kind == "moved"
    link.begin(of("b").take, 60.0).result()
    with pytest.raises(FleetFault):
        link.begin(holder.renew).result()


def test_a_bucket_that_somebody_removed_is_made_again(link: Link) -> None:
    """By whoever holds the lease: else a pool that works well would be at fault until it is started again."""
    holder = of("a")
    link.begin(holder.take).result()
    link.begin(lambda client: client.jetstream().delete_key_value(holder.bucket.bucket)).result()
    link.begin(holder.renew).result()
    link.begin(holder.renew).result()
    link.begin(of("a", "2").take).result()
    with pytest.raises(FleetFault, match="at work"):
        link.begin(holder.renew).result()


def test_what_is_no_lease_ends_like_one(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wrote something else there."""
    monkeypatch.setattr(lease, "LASTS_S", 0.5)

    async def scribble(client: Client) -> None:
        bucket = await buckets.ensure(client, of("b").bucket)
        await bucket.put("pool.one", b"not json")

    link.begin(scribble).result()
    link.begin(of("b").take, 60.0).result()
