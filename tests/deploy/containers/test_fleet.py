"""compose.yaml with its profiles `fleet` and `registry`. The tests share what is running."""

from collections.abc import Iterator

import pytest
import yaml

from tests.deploy.containers.docker import Container, Stack, docker, on_one_loopback
from tests.support.waiting import eventually

VARIABLES = {
    "COMPOSE_PROFILES": "fleet,registry",
    "VMAFX_FLEET_URL": "tls://nats:4222",
    "VMAFX_FLEET_REGISTRY_URL": "oci+http://registry:5000/vmaf/pool",
}
"""As compose.yaml and the page on fleets have them."""

KEYS = {"sidecar": "/fleet/nodes/default/sidecar.nk", "pool": "/fleet/pools/default/pool.nk"}


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give a sidecar with its node, a server, a pool and a registry."""
    whole = on_one_loopback("nats", "registry")
    whole["services"]["pool"]["environment"]["VMAFX_SIDECAR_HTTP"] = "0.0.0.0:9092"  # one loopback, one 9091
    file = tmp_path_factory.mktemp("compose") / "compose.yaml"
    file.write_text(yaml.safe_dump(whole))
    stack = Stack(image, (file,), **VARIABLES)
    stack.compose("up", "--detach", "--no-build")
    yield stack
    stack.compose("down", "--volumes")


def pool_of(stack: Stack) -> Container:
    """Return the pool."""
    return stack.container("pool")


def test_a_model_of_the_pool_comes_before_the_gate(stack: Stack) -> None:
    """The pool learns from the sidecar's samples, announces a model, and the sidecar takes or refuses it."""
    pool, sidecar = pool_of(stack), stack.sidecar
    assert eventually(lambda: pool.accepted() > 0, explain=pool.logs)
    assert eventually(lambda: pool.events("announced"), explain=pool.logs)
    offered = eventually(lambda: sidecar.events("offered"), explain=sidecar.logs)[0]
    assert offered["digest"] in {event["digest"] for event in pool.events("announced")}
    judged = eventually(lambda: sidecar.events("offer_taken") + sidecar.events("offer_refused"), explain=sidecar.logs)
    assert judged[0].get("digest") == offered["digest"] or judged[0]["reason"]
    assert eventually(lambda: pool.is_healthy() and stack.container("nats").is_healthy(), explain=pool.logs)


@pytest.mark.parametrize("service", ["fleet-config", "nats", "pool", "sidecar", "fake-node"])
def test_confined(stack: Stack, service: str) -> None:
    """Each runs as a user without rights, and cannot write to its image."""
    found = stack.container(service).inspect()
    assert found["Config"]["User"] == "65532:65532"
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]


def test_goes_on_after_crashes(stack: Stack) -> None:
    """Server and pool, killed at once, are restarted and go on; the sidecar has gone on meanwhile."""
    pool, server = pool_of(stack), stack.container("nats")
    restarts, accepted, learned = pool.inspect()["RestartCount"], stack.sidecar.accepted(), pool.accepted()
    pool.crash()
    server.crash()
    assert eventually(lambda: pool.inspect()["RestartCount"] > restarts)
    assert stack.sidecar.goes_on_from(accepted)
    assert pool.goes_on_from(learned)
    assert eventually(lambda: not stack.sidecar.status()["uplink"]["failing"], explain=stack.sidecar.logs)


def test_ends_with_code_0_and_starts_again(stack: Stack) -> None:
    """All end in time and of their own accord. Started again they have their keys, and a node that was added one."""
    keys = digests(stack)
    stack.compose("run", "--rm", "fleet-config", "fleet", "config", "/fleet", "--node", "second")
    assert not is_known(stack, "second")
    stack.compose("stop")
    codes = {name: stack.container(name).inspect()["State"]["ExitCode"] for name in ("sidecar", "pool", "nats")}
    assert codes == {"sidecar": 0, "pool": 0, "nats": 0}
    stack.compose("down")
    stack.compose("up", "--detach", "--no-build")
    assert digests(stack) == keys
    pool = pool_of(stack)
    assert eventually(lambda: pool.events("resumed"), explain=pool.logs)
    assert pool.goes_on_from(pool.accepted())
    assert is_known(stack, "second")


def digests(stack: Stack) -> dict[str, str]:
    """Return the digest of each key, as those who have it read it."""
    return {name: stack.container(name).run("sha256sum", key).stdout for name, key in KEYS.items()}


def is_known(stack: Stack, node: str) -> bool:
    """Tell whether the server lets a node's key in: what it then asks for, it may not see."""
    key = f"VMAFX_FLEET_KEY=/fleet/nodes/default/{node}.nk"
    done = docker("exec", "--env", key, stack.sidecar.name, "vmafx-sidecar", "fleet", "status")
    assert "refused" in done.stderr
    return "permissions violation" in done.stderr
