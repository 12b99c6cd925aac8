"""The sidecar that the contract is held against."""

from collections.abc import Iterator

import pytest

from tests.contract.sidecar import Sidecar, running


@pytest.fixture(scope="session")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """Run a sidecar of six features that publishes every second."""
    with running(
        tmp_path_factory.mktemp("contract"),
        VMAFX_SIDECAR_N_FEATURES="6",
        VMAFX_SIDECAR_CKPT_INTERVAL_S="1",
        VMAFX_SIDECAR_MIN_SAMPLES_CKPT="50",
    ) as started:
        yield started
