"""What watching costs: the monitor's share of a core, idle and with every endpoint asked every second.

    python -m benchmarks.monitor_cost --seconds 60

Prints a table. The exit code is 1 where a limit is missed: 0.3 % of a core idle, 1 % scraped every second.
"""

from __future__ import annotations

import sys
import time
import urllib.request

import click
import psutil

from benchmarks.sidecar import Sidecar, running

_ENDPOINTS = {
    "idle": ((), 0.003),
    "/metrics every second": (("/metrics",), 0.01),
    "/metrics, /status, /healthz, /readyz every second": (("/metrics", "/status", "/healthz", "/readyz"), 0.01),
    "the live page, open": (("/live", "/history?since="), 0.01),
}


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Duration of each measurement.")
def main(seconds: float) -> None:
    """Measure the monitor of an idle sidecar."""
    within = True
    with running(HTTP="127.0.0.1:0") as sidecar:
        _ask(_url(sidecar), ("/metrics", "/history?since="))
        click.echo(f"{'monitor':<52} {'of a core':>10} {'limit':>8}")
        for name, (paths, limit) in _ENDPOINTS.items():
            share = _share(sidecar, paths, seconds)
            within &= share < limit
            click.echo(f"{name:<52} {share:>9.2%} {limit:>8.1%}")
        memory = psutil.Process(sidecar.pids()["monitor"]).memory_full_info()
        click.echo(f"memory: {memory.uss / 2**20:.0f} MiB of its own, {memory.rss / 2**20:.0f} MiB resident")
    sys.exit(not within)


def _url(sidecar: Sidecar) -> str:
    while not (url := sidecar.board.monitor().http):
        time.sleep(0.1)
    return url


def _share(sidecar: Sidecar, paths: tuple[str, ...], seconds: float) -> float:
    """Return the monitor's processor time by wall time while `paths` are asked once a second."""
    process, url = psutil.Process(sidecar.pids()["monitor"]), _url(sidecar)
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    while time.monotonic() - began < seconds:
        _ask(url, paths)
        time.sleep(1.0)
    used: float = sum(process.cpu_times()[:2]) - before
    return used / (time.monotonic() - began)


def _ask(url: str, paths: tuple[str, ...]) -> None:
    for path in paths:
        with urllib.request.urlopen(url + path, timeout=5) as answer:  # noqa: S310  an address of our own
            answer.read()


if __name__ == "__main__":
    main()
