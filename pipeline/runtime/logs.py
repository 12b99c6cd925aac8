"""Logging: structlog, one line an event; for people on a terminal, JSON lines elsewhere. Goes to standard error.

What is logged is also kept in the process's journal, and no event can flood: of each name, a few a minute get through.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

from pipeline.config import Settings
from pipeline.runtime.imports import without

# It looks for rich, to print tracebacks in colour, which nothing here does: half of the time that its import takes, and
# 5 MB in each process.
with without("rich"):
    import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

if TYPE_CHECKING:
    from pipeline.runtime.journal import Journal

Logger = FilteringBoundLogger
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(settings: Settings, journal: Journal | None = None) -> None:
    """Set up structlog for this process as `settings` say; keep what is logged in `journal` too."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            RateLimit(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(),
            *([_Keep(journal)] if journal else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.log_level]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get(role: str) -> Logger:
    """Return the logger of `role`."""
    logger: Logger = structlog.get_logger(role=role)
    return logger


class RateLimit:
    """Lets `burst` events of a name through at once and one more every `refill_s` seconds.

    The next one that gets through says in `suppressed` how many did not.
    """

    def __init__(self, burst: int = 20, refill_s: float = 3.0) -> None:
        self._burst, self._refill_s = burst, refill_s
        self._buckets: dict[str, tuple[float, float, int]] = {}

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        """Pass the event on, or raise DropEvent."""
        name, now = str(event.get("event")), time.monotonic()
        tokens, since, suppressed = self._buckets.get(name, (float(self._burst), now, 0))
        tokens = min(self._burst, tokens + (now - since) / self._refill_s)
        if tokens < 1:
            self._buckets[name] = (tokens, now, suppressed + 1)
            raise structlog.DropEvent
        self._buckets[name] = (tokens - 1, now, 0)
        if suppressed:
            event["suppressed"] = suppressed
        return event


class _Keep:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        self._journal.add(event)
        return event
