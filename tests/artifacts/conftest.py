"""Every kind of registry, for the tests that all have to pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.artifacts.reference import Reference
from pipeline.artifacts.store import Store, open_store
from tests.support.registries import S3, DockerRegistry, make_keys, set_in


@pytest.fixture(params=["file", "oci", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of an empty registry."""
    directory = tmp_path / "server"
    directory.mkdir()
    if request.param == "file":
        yield directory.as_uri()
    elif request.param == "oci":
        with DockerRegistry(directory) as server:
            yield server.url
    else:
        with S3(directory) as bucket, set_in(bucket.environment):
            yield bucket.url


@pytest.fixture
def store(url: str) -> Store:
    """Give the registry itself."""
    return open_store(Reference.parse(url))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Make a private and a public key."""
    return make_keys(tmp_path, "key")
