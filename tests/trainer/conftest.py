"""What holds for all tests of learning."""

from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def as_in_the_trainer() -> Iterator[None]:
    """Let numpy not warn of overflow, which is what the trainer process tells it."""
    with np.errstate(all="ignore"):
        yield
