"""The node's log: structlog, imported with the first event, since it takes longer than the rest of this package."""

from collections.abc import Callable
from typing import Any


class _Log:
    """A structlog logger under its usual names, `info`, `warning` and so on."""

    def __getattr__(self, level: str) -> Callable[..., Any]:
        import structlog

        method: Callable[..., Any] = getattr(structlog.get_logger(), level)
        return method

    def load(self) -> None:
        """Import structlog now, on a thread that may wait for it, and not on one that encodes."""
        import structlog  # noqa: F401


log = _Log()
