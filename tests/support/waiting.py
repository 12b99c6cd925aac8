"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 120.0


def eventually(condition: Callable[[], T], within_s: float = PATIENCE_S, explain: Callable[[], object] = str) -> T:
    """Wait until `condition()` is true; return what it gave.

    Fails after `within_s` seconds, which only a fault can take, and then says what `explain()` gives. A condition that
    raises OSError, as a server that is not there yet makes it do, is not true.
    """
    give_up = time.monotonic() + within_s
    while True:
        error = None
        try:
            if found := condition():
                return found
        except OSError as raised:
            error = raised
        if time.monotonic() > give_up:
            raise AssertionError(f"not true within {within_s:g} s\n{explain()}") from error
        time.sleep(0.02)
