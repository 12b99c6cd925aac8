"""The way back, with a real server and registry: what a pool announces is offered once, if it is what it says."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from pipeline import config
from pipeline.artifacts import offer
from pipeline.artifacts.offer import Slot
from pipeline.config import Settings
from pipeline.fleet.link import Link
from pipeline.uplink.models import ModelFollower
from tests.support.checkpoints import small_model
from tests.support.nats import NatsServer
from tests.support.pool import Pool
from tests.support.registries import make_keys
from tests.support.waiting import eventually

GOOD, BETTER = small_model(seed=3).vector(), small_model(seed=4).vector()


@pytest.fixture
def pool(tmp_path: Path, server: NatsServer) -> Iterator[Pool]:
    """Give a pool that has nothing to say yet."""
    with Pool(tmp_path, server, small_model()) as made:
        yield made


class Follower:
    """A follower of a pool with a connection of its own; each life of it knows what the one before has offered."""

    def __init__(self, place: Path, server: NatsServer, pool: Pool, **others: str) -> None:
        self.settings: Settings = config.load({
            "VMAFX_FLEET_URL": server.url,
            "VMAFX_FLEET_NODE": "one",
            "VMAFX_FLEET_REGISTRY_URL": pool.share.as_uri(),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(place / "online"),
        } | others)  # fmt: skip
        self.base = pool.base.digest
        self.link = Link(self.settings, "one")
        self.follower = ModelFollower(self.settings, self.link, structlog.get_logger())

    def again(self) -> None:
        """Begin another life."""
        self.follower = ModelFollower(self.settings, self.link, structlog.get_logger(), offered=self.follower.offered)

    def until(self, condition: Callable[[ModelFollower], object]) -> None:
        """Let it go on until something holds."""

        def holds() -> bool:
            self.follower.turn(self.base)
            return bool(condition(self.follower))

        eventually(holds, explain=lambda: f"{self.follower.problem} {self.follower.announced}")

    @property
    def on_offer(self) -> offer.Offer | None:
        """What the exporter finds."""
        return offer.read(self.settings.state_dir, Slot.FLEET)


@pytest.fixture
def follower(tmp_path: Path, server: NatsServer, pool: Pool) -> Iterator[Follower]:
    """Follow the pool."""
    made = Follower(tmp_path, server, pool)
    yield made
    made.link.close()


def test_each_model_is_offered_once(pool: Pool, follower: Follower) -> None:
    """What is there at the start, then a newer one in its place; what was judged not again, in the next life too."""
    first = pool.push(GOOD)
    pool.announce()
    follower.until(lambda each: each.offered == first)
    found = follower.on_offer
    assert found is not None
    assert found.onnx == pool.base.with_weights(GOOD)
    assert (found.about.registry, found.about.digest) == (pool.share.as_uri(), first)
    second = pool.push(BETTER)
    pool.announce()
    follower.until(lambda each: each.offered == second)
    found = follower.on_offer
    assert found is not None
    assert found.onnx == pool.base.with_weights(BETTER)
    offer.remove(follower.settings.state_dir, found.about, Slot.FLEET)
    follower.again()
    follower.until(lambda each: each.announced == second and each.due_in > 10)
    assert follower.on_offer is None
    assert follower.follower.problem == ""


def test_it_waits_for_a_pool_that_has_not_spoken_and_hears_when_it_does(
    server: NatsServer, pool: Pool, follower: Follower
) -> None:
    """No bucket is no fault; a server that is away for a while neither."""
    follower.until(lambda each: each.due_in > 10)
    assert (follower.follower.problem, follower.follower.announced) == ("", "")
    first = pool.push(GOOD)
    pool.announce()
    follower.until(lambda each: each.offered == first)
    server.kill()
    eventually(lambda: not follower.link.is_up and not pool.link.is_up)
    server.start()
    eventually(lambda: pool.link.is_up)
    second = pool.push(BETTER)
    pool.announce()
    follower.until(lambda each: each.offered == second)


def test_what_was_withdrawn_is_no_longer_on_offer(pool: Pool, follower: Follower) -> None:
    """If it was not judged yet; it may come back."""
    digest = pool.push(GOOD)
    pool.announce()
    follower.until(lambda each: each.offered == digest)
    pool.withdraw()
    pool.announce()
    follower.until(lambda each: not each.announced and follower.on_offer is None)
    pool.push(GOOD)
    pool.announce()
    follower.until(lambda each: each.offered == each.announced != "")
    assert follower.on_offer is not None


def test_what_is_not_what_it_says_is_not_offered(pool: Pool, follower: Follower) -> None:
    """A byte was changed in the registry; another model than the pool says; of another base; not there at all."""
    first = pool.push(GOOD)
    pool.tamper(first)
    pool.announce()
    follower.until(lambda each: "garbage" in each.problem and each.announced == first)
    pool.push(BETTER)
    pool.announce(sha256="0" * 64)
    follower.until(lambda each: "the pool says 000000000000" in each.problem)
    pool.push(GOOD, small_model(seed=9))
    pool.announce(base_sha256=pool.base.digest)
    follower.until(lambda each: "of base model" in each.problem)
    pool.announce(base_sha256=pool.base.digest, digest=f"sha256:{'0' * 64}")
    follower.until(lambda each: "lost" in each.problem)
    assert follower.follower.offered == ""
    assert not offer.is_there(follower.settings.state_dir, Slot.FLEET)
    assert follower.follower.failures["garbage"] >= 3
    good = pool.push(BETTER)
    pool.announce()
    follower.until(lambda each: each.offered == good and not each.problem)


def test_with_a_key_only_what_it_has_signed_is_offered(tmp_path: Path, server: NatsServer) -> None:
    """Unsigned, signed by another, signed by the right one."""
    keys = [make_keys(tmp_path, name) for name in ("right", "wrong")]
    for number, sign_key in enumerate((None, keys[1][0], keys[0][0])):
        place = tmp_path / str(number)
        place.mkdir()
        with Pool(place, server, small_model(seed=10 + number), sign_key) as pool:
            follower = Follower(place, server, pool, VMAFX_REGISTRY_PUBLIC_KEY=str(keys[0][1]))
            digest = pool.push(GOOD)
            pool.announce()
            follower.until(lambda each: each.offered or "unsigned" in each.problem)
            is_trusted = sign_key == keys[0][0]
            assert (follower.follower.offered, follower.on_offer is not None) == (digest * is_trusted, is_trusted)
            follower.link.close()


def test_the_registry_that_a_pool_names_is_not_asked(tmp_path: Path, server: NatsServer, pool: Pool) -> None:
    """Only the one of the setting; without one nothing is taken."""
    empty = tmp_path / "empty"
    empty.mkdir()
    pool.push(GOOD)
    pool.announce(registry=pool.share.as_uri())
    follower = Follower(tmp_path, server, pool, VMAFX_FLEET_REGISTRY_URL=empty.as_uri())
    follower.until(lambda each: "lost" in each.problem)
    follower.link.close()
    assert follower.on_offer is None


def test_a_model_of_another_base_is_not_looked_at(pool: Pool, follower: Follower) -> None:
    """Each base model has a key of its own."""
    pool.push(GOOD, small_model(seed=9))
    pool.announce()
    follower.until(lambda each: each.due_in > 10)
    assert (follower.follower.announced, follower.on_offer) == ("", None)
