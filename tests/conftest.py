"""Fixtures that every test may use: data beside the repository, and names in shared memory that are cleaned up."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from pipeline.runtime import regions
from pipeline.shm.segment import SHM_DIR

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
_numbers = count()

# How long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def _shared(name: str) -> Path:
    directory = SHARED / name
    if not directory.is_dir():
        pytest.skip(f"{directory} is not there")
    return directory


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Return the directory of real base models, or skip the test."""
    return _shared("models")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the directory of measured rows, or skip the test."""
    return _shared("data")


@pytest.fixture
def instance() -> Iterator[str]:
    """Give an instance name of this test's own; whatever it leaves in shared memory is removed."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    yield name
    for leftover in SHM_DIR.glob(f"{regions.PREFIX}{name}-*"):
        leftover.unlink(missing_ok=True)


@pytest.fixture
def segment_name(instance: str) -> str:
    """Give the name of a segment of this test's own."""
    return regions.name(instance, "segment")
