"""The archive: what it costs ingest, what it keeps up with, and what a sample takes on disk.

Admission in one process, with copies of lines and without. Two real sidecars, one with an archive, take turns, each
first in every second round; neither is measured before the archive has written what waits. Each measurement sends
messages of jobs of its own, and fails where one in a hundred was taken for a resend. What the archive keeps up with is
by its own processor time, over what it has written.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from benchmarks.clients import apart, lock_step, paced
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.ingest import CONNECTIONS, MESSAGES, ingest_rates
from benchmarks.sidecar import Sidecar, running
from benchmarks.traffic import messages, of_other_jobs
from pipeline.ingest.admission import Admission
from pipeline.ingest.copies import Copies
from pipeline.ingest.dedup import Deduplicator
from pipeline.shm.byte_ring import ByteRing
from pipeline.shm.ring import Ring

BOUND = (
    "decoding every field, and zstd over the features. A sample cannot be smaller than its features' entropy, which "
    "for random ones is nearly all of their bytes."
)
ROUNDS = 5
SECONDS = 2.0
PACE = 1000.0
"""Messages a second where answers are timed and nothing is saturated."""
_MOST_RESENT = 0.05
T = TypeVar("T")
_ROUND_BYTES = 1 << 18
_REMEMBERED = 10_000


def figures() -> list[Figure]:
    """Measure on 80 and on 6 features."""
    return [figure for n_features in (80, 6) for figure in _compare(n_features)]


def _compare(n_features: int) -> list[Figure]:
    lines = messages(MESSAGES, n_features)
    by_processor, by_clock, lock_stepped, at_a_pace, archived = [], [], [], [], []
    with running(n_features) as without, _archiving(n_features) as (with_archive, directory):
        both = Both(without, with_archive, lines)
        for number in range(ROUNDS):
            off, on = both.in_turn(number, lambda sidecar, sent: ingest_rates(sidecar, sent, CONNECTIONS))
            by_processor.append(on[0] / off[0])
            by_clock.append(on[1] / off[1])
            off_s, on_s = both.in_turn(number, _lock_stepped)
            lock_stepped.append(on_s / off_s)
            off_s, on_s = both.in_turn(number, _at_a_pace)
            at_a_pace.append(on_s / off_s)
            archived.append(_archive_rate(both))
        sizes = _bytes_a_sample(with_archive, directory)
    setting, few = f"{n_features} features, {CONNECTIONS} connections", f"{n_features} features, "
    raw = sum(map(len, lines)) / len(lines)
    limit = entropy_limit(lines, n_features)
    p99 = "p99 of answers with an archive"
    return [
        at_least(
            "admission with copies of lines", "without", f"{n_features} features", _admission(lines, n_features), 0.95
        ),
        at_least("ingest with an archive, by processor time", "without", setting, tuple(by_processor), 0.95),
        at_least("ingest with an archive, by the clock", "without", setting, tuple(by_clock), 0.95),
        at_most(p99, "without", f"{few}lock-step", tuple(lock_stepped), 1.1),
        at_most(p99, "without", f"{few}{PACE:,.0f} messages/s", tuple(at_a_pace), 1.1),
        at_least("archive, samples a second of half a core", "20,000", setting, tuple(r / 40_000 for r in archived), 1),
        Figure("bytes a sample in the archive", "raw JSON", setting, (sizes / raw,)),
        Figure("bytes a sample in the archive", "features as float32, deflated", setting, (sizes / limit,)),
    ]


class Both:
    """A sidecar without an archive and one with one, which take turns."""

    def __init__(self, without: Sidecar, with_archive: Sidecar, lines: list[bytes]) -> None:
        self.without, self.with_archive = without, with_archive
        self._lines, self._jobs = lines, itertools.count(1)

    def in_turn(self, number: int, measure: Callable[[Sidecar, list[bytes]], T]) -> tuple[T, T]:
        """Measure both in round `number`; return what was without, and with an archive."""
        if number % 2:
            off, on = self._measured(self.without, measure), self.with_one(measure)
        else:
            on, off = self.with_one(measure), self._measured(self.without, measure)
        return off, on

    def with_one(self, measure: Callable[[Sidecar, list[bytes]], T]) -> T:
        """Measure the one with an archive."""
        return self._measured(self.with_archive, measure)

    def _measured(self, sidecar: Sidecar, measure: Callable[[Sidecar, list[bytes]], T]) -> T:
        _settled(self.with_archive)
        accepted, resent = sidecar.reconciled(), sidecar.board.ingest().resent
        found = measure(sidecar, of_other_jobs(self._lines, next(self._jobs)))
        accepted, resent = sidecar.reconciled() - accepted, sidecar.board.ingest().resent - resent
        if resent > _MOST_RESENT * accepted:
            raise RuntimeError(f"{resent} of {accepted + resent} messages were taken for resends")
        return found


def _admission(lines: list[bytes], n_features: int) -> tuple[float, ...]:
    """Return how many samples are admitted with copies, over those without, round by round, by processor time."""
    a_round = max(1, _ROUND_BYTES // len(lines[0]))
    blocks = [b"".join(lines[i : i + a_round])[:-1] for i in range(0, len(lines), a_round)]
    without, with_copies = _admits(n_features, copying=False), _admits(n_features, copying=True)

    def seconds(admission: Admission) -> float:
        began = time.process_time()
        for block in blocks:
            admission.admit([[block]], b"{")
        return time.process_time() - began

    seconds(without), seconds(with_copies)
    return tuple(seconds(without) / seconds(with_copies) for _ in range(2 * ROUNDS + 1))


def _admits(n_features: int, *, copying: bool) -> Admission:
    ring = Ring.private(_REMEMBERED, n_features)
    copies = Copies(ByteRing.private(1 << 26), ring, lambda: (1, 2), lambda: None) if copying else None
    return Admission(ring, Deduplicator(_REMEMBERED, []), 1 << 18, copies=copies)


@contextmanager
def _archiving(n_features: int) -> Iterator[tuple[Sidecar, Path]]:
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        archive = Path(directory) / "archive"
        variables = {"ARCHIVE_DIR": str(archive), "ARCHIVE_MINUTES": "0.02", "ARCHIVE_BUFFER_BYTES": str(1 << 29)}
        with running(n_features, **variables) as sidecar:
            yield sidecar, archive


def _lock_stepped(sidecar: Sidecar, lines: list[bytes]) -> float:
    return _p99(apart(lock_step, sidecar.socket, lines, CONNECTIONS, SECONDS)[1])


def _at_a_pace(sidecar: Sidecar, lines: list[bytes]) -> float:
    return _p99(apart(paced, sidecar.socket, lines, CONNECTIONS, PACE, SECONDS))


def _p99(delays: list[float]) -> float:
    return float(np.percentile(delays, 99))


def _archive_rate(both: Both) -> float:
    """Return samples that the archive writes a second of its processor time."""
    board, process = both.with_archive.board, psutil.Process(both.with_archive.board.archive().pid)
    _settled(both.with_archive)
    done, used = board.archive().archived, sum(process.cpu_times()[:2])
    both.with_one(lambda sidecar, lines: ingest_rates(sidecar, lines, CONNECTIONS))
    _settled(both.with_archive)
    return (board.archive().archived - done) / (sum(process.cpu_times()[:2]) - used)


def _settled(sidecar: Sidecar) -> None:
    until = time.monotonic() + 120
    while sidecar.board.archive().archived + sidecar.board.archive().missed < sidecar.reconciled():
        if time.monotonic() > until:
            raise RuntimeError("the archive has not caught up")
        time.sleep(0.2)


def _bytes_a_sample(sidecar: Sidecar, directory: Path) -> float:
    _settled(sidecar)
    size = sum(path.stat().st_size for path in directory.rglob("*.parquet"))
    return size / sidecar.board.archive().archived


def entropy_limit(lines: list[bytes], n_features: int) -> float:
    """Return bytes a sample of the features alone, as float32 split into planes of bytes and deflated at the most."""
    import msgspec

    features = np.array([msgspec.json.decode(line)["features"] for line in lines[:20_000]], np.float32)
    planes = np.ascontiguousarray(features.view(np.uint8).reshape(-1, n_features, 4).transpose(1, 2, 0))
    return len(zlib.compress(planes.tobytes(), 9)) / len(features)
