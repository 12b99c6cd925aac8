"""Answer latency at 1,000 messages a second with an export every second, against the same without exports."""

from __future__ import annotations

import numpy as np

from benchmarks.clients import apart, paced
from benchmarks.figures import Figure, at_most
from benchmarks.sidecar import Sidecar, running
from benchmarks.traffic import messages

BOUND = (
    "the scheduler: ingest never waits for another process, but an export takes a core for some milliseconds, and on "
    "a machine with fewer free cores than busy processes whoever wakes up then waits for its turn."
)
ROUNDS = 9  # the p99.9 of a round is its sixth largest delay
RATE, SECONDS, CONNECTIONS = 1000.0, 6.0, 8


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    lines = messages(30_000, n_features)
    with (
        running(n_features, CKPT_INTERVAL_S="1", MIN_SAMPLES_CKPT="1") as exporting,
        running(n_features, CKPT_INTERVAL_S="1000000") as quiet,
    ):
        rounds = [(_delays(exporting, lines), _delays(quiet, lines)) for _ in range(ROUNDS)]
    setting = f"{n_features} features, 1,000 messages/s"
    figures = []
    for percentile, goal in ((99, 1.1), (99.9, 1.5)):
        ratios = tuple(float(np.percentile(a, percentile) / np.percentile(b, percentile)) for a, b in rounds)
        note = f"{1000 * float(np.median([np.percentile(a, percentile) for a, _ in rounds])):.2f} ms"
        figure = at_most(f"answer latency p{percentile:g} with exports", "without", setting, ratios, goal)
        figures.append(figure.with_note(note))
    return figures


def _delays(sidecar: Sidecar, lines: list[bytes]) -> list[float]:
    """Return the delays of one round, the first half second aside."""
    delays = apart(paced, sidecar.socket, lines, CONNECTIONS, RATE, SECONDS)
    sidecar.reconciled()
    return delays[int(RATE / 2) :]
