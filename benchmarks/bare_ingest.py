"""The ingest loop alone: `python -m benchmarks.bare_ingest HOW`, with settings from the environment.

HOW is `rounds` for the loop as it is, `sockets` for one that stores and answers for each socket by itself.
"""

from __future__ import annotations

import sys

from pipeline import config
from pipeline.ingest.admission import Admission
from pipeline.ingest.answers import AnswerPrefix
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.listener import Listener
from pipeline.ingest.server import Server
from pipeline.runtime import regions
from pipeline.runtime.lifecycle import StopFlag
from pipeline.shm.ring import Ring

_SHARE = 65536


class PerSocket(Server):
    """Answers on a socket before it reads from the next."""

    def round(self, timeout: float) -> bool:
        """Serve whoever is ready, one after the other."""
        events = self._poll(timeout)
        for fd, mask in events:
            served = self._serve(fd, mask, _SHARE)
            if served is not None:
                connection, blocks = served
                self._reply(connection, self._admission.admit([blocks], self._answers.plain)[0])
        self._sweep()
        return bool(events)


def main() -> None:
    """Serve until told to stop."""
    settings, stop = config.load(), StopFlag()
    ring = Ring.private(settings.replay_capacity, settings.n_features)
    admission = Admission(ring, Deduplicator(settings.replay_capacity, []), settings.max_line_bytes)
    kind = PerSocket if sys.argv[1] == "sockets" else Server
    server = kind(
        settings, Listener(settings), admission, AnswerPrefix(regions.open_board(settings), settings.checkpoint_dir)
    )
    while not stop:
        server.round(0.2)


if __name__ == "__main__":
    main()
