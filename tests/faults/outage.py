"""A registry that is away for an hour while versions come and go: `python -m tests.faults.outage --seconds 3600`.

A sidecar, a fake node that feeds it slowly, and a real registry. The registry is killed, half-way through a version is
rolled back, and in the end the registry is started again, with its data or without. Ends with a report, and with 1
where status or metrics did not say since when, the publisher did not catch up by itself, or it grew.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import click
import psutil

from pipeline.data import BASE_MODEL
from tests.support.registries import S3, DockerRegistry, Server, newest_in, set_in
from tests.support.sidecar import COMMAND, QUICK, Sidecar, running
from tests.support.waiting import eventually

_LATEST_S = 90.0
"""Within this an outage has to be said: the publisher asks the registry once a minute."""
_MOST_MIB = 8.0
_MOST_FILES = 4
"""What the publisher may have more in the end than at the beginning of the outage."""


@dataclass(frozen=True)
class Usage:
    """What the publisher has at one moment: private memory in MiB, open files, and threads."""

    memory: float
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Look at a process."""
        process = psutil.Process(pid)
        return cls(process.memory_full_info().uss / 2**20, process.num_fds(), process.num_threads())


@dataclass
class Ledger:
    """What was seen, and what was wrong. Times in seconds, `began_at` Unix time."""

    began_at: float = 0.0
    said: dict[str, object] = field(default_factory=dict)
    usages: list[Usage] = field(default_factory=list)
    stable: list[int] = field(default_factory=list)
    steps: tuple[int, int] = (0, 0)
    rolled_back: int = 0
    caught_up_s: float = 0.0
    pointed: int = 0
    failures: int = 0
    errors: list[str] = field(default_factory=list)

    def check(self, what: str, *, holds: bool) -> None:
        """Note what does not hold."""
        if not holds:
            self.errors.append(what)

    def look(self, sidecar: Sidecar, pid: int) -> None:
        """Note what the publisher has, and which version is stable."""
        health = sidecar.reported()
        self.check("the publisher was restarted", holds=health.publisher.pid == pid)
        self.check("status does not say that the registry is away", holds=bool(health.publisher.failing))
        self.usages.append(Usage.of(health.publisher.pid))
        if [health.exporter.stable_version] != self.stable[-1:]:
            self.stable.append(health.exporter.stable_version)


def outage(sidecar: Sidecar, server: Server, url: str, seconds: float, *, lost: bool) -> Ledger:
    """Take the registry away for a while; return what was seen."""
    ledger = Ledger()
    _wait_for(sidecar, lambda: newest_in(url) > 0)
    pid, before = sidecar.pid("publisher"), newest_in(url)
    step = sidecar.reported().trainer.step
    server.kill()
    ledger.began_at, began = time.time(), time.monotonic()
    _wait_for(sidecar, lambda: sidecar.reported().publisher.failing)
    _wait_for(sidecar, lambda: sidecar.reported().exporter.stable_version > before)
    _wait_for(sidecar, lambda: sidecar.reported().publisher.waiting_since)
    _watch(sidecar, pid, ledger, began + seconds / 2)
    ledger.rolled_back = _roll_back(sidecar)
    _watch(sidecar, pid, ledger, began + seconds)
    ledger.steps = step, sidecar.reported().trainer.step
    _ask(sidecar, ledger)
    if lost:
        shutil.rmtree(server.directory / "data", ignore_errors=True)
    back = time.monotonic()
    server.start()
    _wait_for(sidecar, lambda: _agrees(sidecar, url))
    ledger.caught_up_s, ledger.pointed = time.monotonic() - back, newest_in(url)
    report = sidecar.reported().publisher
    ledger.failures = report.failures.get("down", 0)
    ledger.check("status still says that it waits", holds=not (report.failing or report.waiting_since))
    ledger.check("the publisher was restarted", holds=report.pid == pid)
    ledger.check("no train step was made", holds=ledger.steps[1] > step)
    ledger.usages.append(Usage.of(pid))
    compare(ledger)
    return ledger


def _wait_for(sidecar: Sidecar, condition: Callable[[], object]) -> None:
    """Wait for what takes a few checkpoints."""
    eventually(condition, within_s=1800, explain=sidecar.log)


def _watch(sidecar: Sidecar, pid: int, ledger: Ledger, until: float) -> None:
    ledger.look(sidecar, pid)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 10.0))
        ledger.look(sidecar, pid)


def _roll_back(sidecar: Sidecar) -> int:
    version = sidecar.reported().exporter.stable_version
    done = sidecar.command("rollback", "--reason", "an outage")
    assert done.returncode == 0, done.stderr
    sidecar.wait_for(lambda: sidecar.reported().exporter.stable_version != version)
    return version


def _ask(sidecar: Sidecar, ledger: Ledger) -> None:
    """Note what an operator is told at the end of the outage: /status, /metrics and the command."""
    url = sidecar.url()
    metrics = _get(f"{url}/metrics").decode()
    registry = json.loads(_get(f"{url}/status"))["registry"]
    since = datetime.fromisoformat(str(registry["failing_since"])).timestamp()
    found = re.search(r"^vmafx_sidecar_registry_waiting_since_timestamp_seconds ([0-9.e+]+)", metrics, re.MULTILINE)
    waiting = float(found[1]) if found else 0.0
    ledger.said = {
        "kind": registry["failing"],
        "failing since, seconds after it was killed": round(since - ledger.began_at),
        "a version waits since, seconds after it was killed": round(waiting - ledger.began_at),
    }
    ledger.check("status says late since when", holds=-1 <= since - ledger.began_at < _LATEST_S)
    ledger.check("the metric of the alert is not set", holds='registry_failing{kind="down"} 1.0' in metrics)
    ledger.check("the metric says nothing of a version that waits", holds=waiting > 0)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310  # of our own
        return bytes(answer.read())


def _agrees(sidecar: Sidecar, url: str) -> bool:
    """Whether the registry leads to the newest stable version, whole, and the publisher knows it."""
    health = sidecar.reported()
    return not health.publisher.failing and newest_in(url) == health.exporter.stable_version > 0


def compare(ledger: Ledger) -> None:
    """Note what the publisher has more of in the end than at the beginning."""
    first, last = ledger.usages[0], ledger.usages[-1]
    ledger.check(f"memory grew by {last.memory - first.memory:.1f} MiB", holds=last.memory < first.memory + _MOST_MIB)
    for name in ("files", "threads"):
        grown = getattr(last, name) - getattr(first, name)
        ledger.check(f"{name} grew by {grown}", holds=grown <= _MOST_FILES)


def report(ledger: Ledger, seconds: float, store: str, *, lost: bool) -> str:
    """Return the report as text."""
    usages = ledger.usages
    rows: dict[str, object] = {
        "stable versions that came meanwhile": len(set(ledger.stable)),
        "rolled back meanwhile": f"version {ledger.rolled_back}",
        "train steps meanwhile": f"{ledger.steps[1] - ledger.steps[0]:,}",
        **ledger.said,
        "tries that failed": ledger.failures,
        "caught up after, seconds": f"{ledger.caught_up_s:.1f}",
        "the registry then leads to": f"version {ledger.pointed}",
        "private memory of the publisher, MiB": _range(usages, lambda usage: usage.memory),
        "open files": _range(usages, lambda usage: usage.files),
        "threads": _range(usages, lambda usage: usage.threads),
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    wrong = "\n".join(f"- {error}" for error in dict.fromkeys(ledger.errors)) or "- nothing"
    kind = "its data lost" if lost else "its data kept"
    return f"\n| {store} away for {seconds:,.0f} s, {kind} | |\n|---|---|\n{table}\n\nWrong:\n\n{wrong}\n"


def _range(usages: list[Usage], figure: Callable[[Usage], float]) -> str:
    figures = [figure(usage) for usage in usages]
    return f"first {figures[0]:.4g}, last {figures[-1]:.4g}, at most {max(figures):.4g}"


@contextmanager
def _feeding(sidecar: Sidecar, rate: float) -> Iterator[None]:
    feed = [*COMMAND, "feed", "--loop", "--rate", str(rate), "--base-model", str(BASE_MODEL)]
    with (sidecar.directory / "node.log").open("wb") as log:
        node = subprocess.Popen(feed, env=sidecar.environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        node.terminate()
        node.wait()


@click.command()
@click.option("--seconds", default=3600.0, show_default=True, help="How long the registry is away.")
@click.option("--store", default="oci", show_default=True, type=click.Choice(["oci", "s3"]), help="What is away.")
@click.option("--lost", is_flag=True, help="It comes back without its data. moto's S3 always does.")
@click.option("--every", default=60.0, show_default=True, help="Seconds between two checkpoints.")
@click.option("--rate", default=25.0, show_default=True, help="Samples a second.")
def main(seconds: float, store: str, lost: bool, every: float, rate: float) -> None:
    """Take a registry away, and look whether the publisher says so and catches up."""
    with tempfile.TemporaryDirectory(prefix="vmafx-outage-") as directory:
        place = Path(directory) / "server"
        place.mkdir()
        with DockerRegistry(place) if store == "oci" else S3(place) as server:
            settings = (
                QUICK
                | server.environment
                | {
                    "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL),
                    "VMAFX_REGISTRY_URL": server.url,
                    "VMAFX_SIDECAR_CKPT_INTERVAL_S": str(every),
                    "VMAFX_SIDECAR_CPU_SHARE": "0.05",
                }
            )
            with set_in(server.environment), running(Path(directory), **settings) as sidecar, _feeding(sidecar, rate):
                ledger = outage(sidecar, server, server.url, seconds, lost=lost)
    click.echo(report(ledger, seconds, store, lost=lost or store == "s3"))
    sys.exit(1 if ledger.errors else 0)


if __name__ == "__main__":
    main()
