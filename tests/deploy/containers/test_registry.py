"""compose.yaml with its profile `registry` and keys: the sidecar pushes, a node without the volume pulls."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.charts import DEPLOY
from tests.deploy.containers.docker import Stack, docker, on_one_loopback
from tests.support.registries import make_keys
from tests.support.waiting import eventually

URL = "oci+http://registry:5000/vmaf/models"
"""The one that compose.yaml and the page on registries name."""


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Give what runs with the profile."""
    whole = on_one_loopback("registry")
    sidecar, node = whole["services"]["sidecar"], whole["services"]["fake-node"]
    sidecar["environment"]["VMAFX_REGISTRY_URL"] = URL
    node["command"] += ["--checkpoint-dir", URL]
    node["volumes"] = [each for each in node["volumes"] if not each.startswith("models:")]
    directory = tmp_path_factory.mktemp("compose")
    file = directory / "compose.yaml"
    file.write_text(yaml.safe_dump(whole))
    (directory / "config.json").write_text("{}")
    for key in make_keys(directory, "key"):
        key.chmod(0o644)
    files = (file, DEPLOY / "compose-registry.yaml")
    stack = Stack(image, files, "registry", REGISTRY_SECRETS=str(directory))
    stack.compose("up", "--detach", "--no-build")
    yield stack
    stack.compose("down", "--volumes")


def test_a_node_without_the_volume_swaps_to_what_was_pushed(stack: Stack) -> None:
    """The sidecar says that it has pushed; the node takes it from the registry, and it is better."""
    assert eventually(lambda: stack.sidecar.events("pushed"), explain=stack.sidecar.logs)
    swap = eventually(lambda: stack.node.events("model_swapped"), explain=stack.node.logs)[0]
    assert swap["rmse_after"] < swap["rmse_before"]
    pushed = {event["digest"][len("sha256:") :][:12] for event in stack.sidecar.events("pushed")}
    assert Path(swap["after"]).stem.rpartition("-")[2] in pushed


def test_what_is_there_can_be_listed_and_verified(stack: Stack) -> None:
    """By the image's own commands, in the container, with the public key: all of it is signed."""
    listed = stack.sidecar.run("vmafx-sidecar", "registry", "list", URL)
    assert "latest-stable" in listed.stdout, listed.stderr
    verified = stack.sidecar.run("vmafx-sidecar", "registry", "verify", URL)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_registry_is_confined_and_comes_back(stack: Stack) -> None:
    """Killed and started again it has what it had, and the next version is pushed."""
    server = stack.container("registry")
    assert server.inspect()["HostConfig"]["ReadonlyRootfs"]
    before = len(stack.sidecar.events("pushed"))
    docker("kill", server.name)
    assert eventually(lambda: stack.sidecar.status()["publisher"]["failing"] == "down", explain=stack.sidecar.logs)
    docker("start", server.name)
    assert eventually(lambda: len(stack.sidecar.events("pushed")) > before, explain=stack.sidecar.logs)
