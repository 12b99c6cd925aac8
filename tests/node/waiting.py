"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], bool], at_most_s: float = 10.0) -> bool:
    """Wait for a condition, for as long as only a fault can take; tell whether it holds."""
    give_up = time.monotonic() + at_most_s
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.005)
    return condition()
