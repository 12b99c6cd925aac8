"""Answers and train steps of a sidecar with a registry, and with one that is away, against the same without.

All export every second, and the scores can be learned, so that there is much to push: where a sidecar with a registry
that answers has not pushed in each round, there is no result. The two that are compared take turns, each first in every
other round, on messages that neither has seen.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.clients import apart, paced
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.sidecar import Sidecar, running
from benchmarks.traffic import messages

BOUND = (
    "the scheduler: the publisher shares nothing with ingest and trainer but the processor, and takes some "
    "milliseconds of it for each version; here the registry's own work is on the same machine, too."
)
ROUNDS = 7
RATE, SECONDS, CONNECTIONS = 1000.0, 6.0, 8
_START_S = 20.0


class _Round(NamedTuple):
    """Delays of the answers in seconds, and train steps a second."""

    delays: list[float]
    steps: float


def figures() -> list[Figure]:
    """Measure with a registry that answers, and one that is away."""
    with _registry() as url:
        answering = _compare(url, "with a registry") if url else []
    return answering + _compare(f"oci://127.0.0.1:{_free_port()}/models", "with a registry that is away")


def _compare(url: str, name: str) -> list[Figure]:
    count = int(RATE * SECONDS)
    lines = [_learnable(line) for line in messages(ROUNDS * count, 6)]
    parts = [lines[i * count : (i + 1) * count] for i in range(ROUNDS)]  # what is sent again is not trained on
    exports = {"CKPT_INTERVAL_S": "1", "MIN_SAMPLES_CKPT": "1"}
    with running(6, VMAFX_REGISTRY_URL=url, **exports) as pushing, running(6, **exports) as plain:
        rounds = [_turns(pushing, plain, part, i % 2 == 0) for i, part in enumerate(parts)]
        report, exported = pushing.board.publisher(), pushing.board.exporter().version
    if not report.failing and report.pushes < ROUNDS:
        raise RuntimeError(f"{report.pushes} pushes in {ROUNDS} rounds: this says nothing of pushing")
    delays = tuple(float(np.percentile(a.delays, 99) / np.percentile(b.delays, 99)) for a, b in rounds)
    steps = tuple(a.steps / b.steps for a, b in rounds)
    setting = "6 features, 1,000 messages/s"
    with_it = float(np.median([np.percentile(a.delays, 99) for a, _ in rounds]))
    failed = sum(report.failures.values())
    note = f"{1000 * with_it:.2f} ms; {report.pushes} pushes and {failed} failures over {exported} versions"
    return [
        at_most(f"answer latency p99 {name}", "without", setting, delays, 1.1).with_note(note),
        at_least(f"train steps {name}", "without", setting, steps, 0.98),
    ]


def _learnable(line: bytes) -> bytes:
    """Return a message with a score that can be learned but for some noise, of one of 50 sources.

    Without noise the first model is nearly exact, and no later one is as good.
    """
    sample = json.loads(line)
    mean = sum(sample["features"]) / len(sample["features"])
    score, source = 80 * mean + 0.2 * sample["true_score"], int(sample["job_id"], 16) % 50
    return json.dumps(sample | {"true_score": score, "source_id": str(source)}).encode() + b"\n"


def _turns(one: Sidecar, other: Sidecar, lines: list[bytes], one_first: bool) -> tuple[_Round, _Round]:
    """Measure both on the same messages, one after the other; return them in the order they were given."""
    if one_first:
        return _round(one, lines), _round(other, lines)
    second = _round(other, lines)
    return _round(one, lines), second


def _round(sidecar: Sidecar, lines: list[bytes]) -> _Round:
    """Measure once, the first half second of the delays aside."""
    before, began = sidecar.board.trainer().step, time.monotonic()
    delays = apart(paced, sidecar.socket, lines, CONNECTIONS, RATE, SECONDS)
    steps = (sidecar.board.trainer().step - before) / (time.monotonic() - began)
    sidecar.reconciled()
    return _Round(delays[int(RATE / 2) :], steps)


@contextlib.contextmanager
def _registry() -> Iterator[str]:
    """Run docker-registry for a while; give the URL of a repository, or nothing where it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        port = _free_port()
        settings = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "storage": {"filesystem": {"rootdirectory": f"{directory}/data"}},
        }
        configuration = Path(directory) / "registry.yml"
        configuration.write_text(json.dumps(settings))  # JSON is YAML
        process = subprocess.Popen([program, "serve", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            _wait_for(f"http://127.0.0.1:{port}/v2/")
            yield f"oci://127.0.0.1:{port}/models"
        finally:
            process.kill()
            process.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310  an address of our own
            return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within {_START_S:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
