"""The sidecar that the contract is held against."""

from collections.abc import Iterator

import pytest

from tests.support.sidecar import PUBLISHING, Sidecar, running


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Run a sidecar of six features that publishes every second."""
    with running(tmp_path_factory.mktemp("contract"), **PUBLISHING) as started:
        yield started
