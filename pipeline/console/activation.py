"""Socket activation: the supervisor holds the listening socket, and each ingest gets it as its standard input.

So a node that dials while ingest is started again waits in the backlog, and is never refused.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from supervisor.process import Subprocess

from pipeline.config import Settings
from pipeline.ingest.listener import TOKEN, Listener
from pipeline.runtime.lifecycle import Ending


class HeldListener:
    """The socket as the supervisor holds it. Raises Ending where it cannot be opened."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listener = Listener(settings)

    def renew(self) -> None:
        """Open it again if it was removed. If that fails, ingest fails in the same way, and says why."""
        if not self._listener.is_current():
            with contextlib.suppress(Ending):
                self._listener = Listener(self._settings)

    def give(self, descriptor: int) -> None:
        """Put the socket in the place of `descriptor`, and say in the environment which file it is."""
        os.dup2(self._listener.fileno(), descriptor)
        os.environ[TOKEN] = self._listener.token

    def close(self) -> None:
        """Close and remove it."""
        self._listener.close()


class ActivatedProcess(Subprocess):  # type: ignore[misc]  # untyped
    """A child of supervisord that gets a listening socket as its standard input."""

    def __init__(self, config: Any, listener: HeldListener) -> None:
        super().__init__(config)
        self._listener = listener

    def spawn(self) -> int | None:
        """Start the process, with a socket to which its path leads."""
        self._listener.renew()
        pid: int | None = super().spawn()
        return pid

    def _prepare_child_fds(self) -> None:
        self._listener.give(self.pipes["child_stdin"])  # which supervisord makes standard input
        super()._prepare_child_fds()
