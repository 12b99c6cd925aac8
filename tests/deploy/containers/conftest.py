"""Containers of the image that `make image` built; `make compose-test` names it."""

import os
from collections.abc import Iterator

import pytest

from tests.deploy.charts import tool
from tests.deploy.containers.docker import Container, Stack, docker


@pytest.fixture(scope="session")
def image() -> str:
    """Return the name of the image to test, or skip."""
    return _named_by("VMAFX_TEST_IMAGE")


@pytest.fixture(scope="session")
def slim() -> str:
    """Return the name of the image without torch, or skip."""
    return _named_by("VMAFX_TEST_SLIM_IMAGE")


def _named_by(variable: str) -> str:
    name = os.environ.get(variable)
    if not name:
        pytest.skip("no image to test: `make compose-test` builds both and tests them")
    tool("docker")
    assert docker("image", "inspect", name).returncode == 0, f"there is no image {name}"
    return name


@pytest.fixture(scope="module")
def stack(image: str) -> Iterator[Stack]:
    """Give what `docker compose up` starts, and remove it with its volumes."""
    stack = Stack(image)
    stack.compose("up", "--detach", "--no-build")
    yield stack
    stack.compose("down", "--volumes")


@pytest.fixture
def containers() -> Iterator[list[Container]]:
    """Give a list; the containers that a test puts there are removed after it."""
    made: list[Container] = []
    yield made
    for container in made:
        docker("rm", "--force", "--volumes", container.name)
