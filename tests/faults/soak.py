"""A sidecar under load and faults for as long as you like: `python -m tests.faults.soak --seconds 600`.

Clients send 2,000 messages a second over several connections, a tenth of them hostile; checkpoints every few seconds;
a random fault every few seconds. All along, every sample that was answered ok has to be in the ring, steps may only
grow, published files may never change. Ends with a report, and with 1 where anything was lost or is unsound.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click
import numpy as np
import psutil
import pyarrow.dataset as ds

from pipeline.archive.names import PARTS
from pipeline.checkpoints.names import file_of, published
from pipeline.registry.registry import digest_of
from pipeline.runtime.health import Health
from tests.faults.soak_faults import FAULTS, ROLES, archive_of, stops_answers
from tests.faults.soak_feeder import N_FEATURES, Feeder, Tally, numbers_of, sample_numbers
from tests.support.sidecar import QUICK, Sidecar
from tests.support.waiting import eventually

SETTINGS = QUICK | {
    "VMAFX_SIDECAR_REPLAY_CAPACITY": "200000",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "3",
    "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "1000",
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "5",
    "VMAFX_SIDECAR_HANG_S": "5",
    "VMAFX_SIDECAR_LOG_LEVEL": "warning",
    "VMAFX_SIDECAR_ARCHIVE_MINUTES": "0.05",
}


@dataclass
class Ledger:
    """What was seen, and what was wrong."""

    answered: int = 0
    accounted: int = 0
    batches: list[tuple[int, int]] = field(default_factory=list)
    archived: int = 0
    refused: int = 0
    resent: int = 0
    worst_s: float = 0.0
    worst_in_fault_s: float = 0.0
    step: int = 0
    digests: dict[int, str] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    halts: list[tuple[float, float]] = field(default_factory=list)
    """When ingest itself was halted: from, to (monotonic)."""

    def take(self, tally: Tally, sidecar: Sidecar) -> None:
        """Account for what the clients have seen: every answered sample has to be in the ring now."""
        wanted = sample_numbers(tally.answered)
        there = numbers_of(sidecar.rows().features)
        found = int(np.isin(wanted, there).sum())
        if found < len(wanted):
            self.errors.append(f"{len(wanted) - found} answered samples are not in the ring")
        if len(np.unique(there)) < len(there):
            self.errors.append(f"{len(there) - len(np.unique(there))} samples are in the ring twice")
        self.answered, self.accounted = self.answered + len(wanted), self.accounted + found
        self.batches += tally.answered
        self.refused, self.resent = self.refused + tally.refused, self.resent + tally.resent
        self.errors += tally.wrong
        for at, seconds in tally.slow:
            if any(at > begin and at - seconds < end for begin, end in self.halts):
                self.worst_in_fault_s = max(self.worst_in_fault_s, seconds)
            else:
                self.worst_s = max(self.worst_s, seconds)

    def inspect(self, sidecar: Sidecar) -> None:
        """Check that the step has not fallen and that no published file has changed."""
        health = sidecar.reported()
        if health.trainer.step < self.step:
            self.errors.append(f"the step fell from {self.step} to {health.trainer.step}")
        self.step = health.trainer.step
        for version, digest in digests(sidecar.checkpoints).items():
            if self.digests.setdefault(version, digest) != digest:
                self.errors.append(f"version {version} was published twice")
        for role in ROLES:
            with suppress(psutil.NoSuchProcess):
                usage = psutil.Process(health.roles[role].pid).memory_info()
                self.memory.setdefault(role, []).append((time.monotonic(), (usage.rss - usage.shared) / 2**20))

    def compare(self, archive: Path) -> None:
        """Check that every sample that was ever answered is in the archive, and none twice."""
        files = sorted(map(str, archive.glob(f"{PARTS}/*.parquet")))
        column = ds.dataset(files).to_table(columns=["features"])["features"].combine_chunks()
        there = numbers_of(column.flatten().to_numpy().reshape(-1, N_FEATURES))
        wanted = sample_numbers(self.batches)
        self.archived = int(np.isin(wanted, there).sum())
        if self.archived < len(wanted):
            self.errors.append(f"{len(wanted) - self.archived} answered samples are not in the archive")
        if len(np.unique(there)) < len(there):
            self.errors.append(f"{len(there) - len(np.unique(there))} samples are in the archive twice")


def digests(directory: Path) -> dict[int, str]:
    """Return the digest of each published model; of one that is removed meanwhile, since it has become old, none."""
    found = {}
    for version in published(directory):
        with suppress(FileNotFoundError):
            found[version] = digest_of(file_of(directory, version))
    return found


def soak(sidecar: Sidecar, seconds: float, rate: float, rng: Random) -> Ledger:
    """Run the load and the faults; return what was seen."""
    ledger, feeder = Ledger(), Feeder(str(sidecar.socket), rate)
    began = time.monotonic()
    while time.monotonic() < began + seconds and len(ledger.errors) < 20:
        time.sleep(rng.uniform(2, 5))
        name = rng.choice(list(FAULTS))
        at = time.monotonic()
        try:
            FAULTS[name](sidecar, rng)
        except ProcessLookupError:  # on a busy machine the fault before may still be at work: this one did nothing
            continue
        _recovers(sidecar, name, ledger)
        ledger.faults[name] += 1
        if stops_answers(name):
            ledger.halts.append((at, time.monotonic()))
        ledger.take(feeder.take(), sidecar)
        ledger.inspect(sidecar)
        click.echo(f"{time.monotonic() - began:7.0f} s  {ledger.answered:>10,} answered  {name}", err=True)
    ledger.take(feeder.stop(), sidecar)
    return ledger


def _recovers(sidecar: Sidecar, name: str, ledger: Ledger) -> None:
    try:
        eventually(lambda: sidecar.is_well() and sidecar.reported().phase == "running")
    except AssertionError as error:
        ledger.errors.append(f"not well after: {name}: {error}\n{sidecar.log()[-2000:]}")


def _slope(points: list[tuple[float, float]]) -> float:
    """Return the slope of a line through (seconds, MiB), in MiB a minute; the first third is warming up."""
    times, values = np.array(points[len(points) // 3 :]).T
    return float(np.polyfit(times, values, 1)[0] * 60) if len(times) > 2 else 0.0


def report(ledger: Ledger, health: Health, seconds: float) -> str:
    """Return the report as text; `health` is how the sidecar was before its last stop."""
    faults = "\n".join(f"| {name} | {count} |" for name, count in sorted(ledger.faults.items()))
    memory = "\n".join(
        f"| {role} | {points[-1][1]:.0f} | {max(value for _, value in points):.0f} | {_slope(points):+.2f} |"
        for role, points in ledger.memory.items()
    )
    restarts = ", ".join(f"{role} {health.roles[role].restarts}" for role in ROLES)
    wrong = "\n".join(f"- {error}" for error in ledger.errors) or "- nothing"
    return f"""
| soak of {seconds:,.0f} s | |
|---|---|
| samples answered ok | {ledger.answered:,} |
| of these found in the ring | {ledger.accounted:,} |
| of these found in the archive | {ledger.archived:,} |
| hostile lines refused | {ledger.refused:,} |
| batches sent again | {ledger.resent:,} |
| checkpoints published | {max(ledger.digests, default=0):,} |
| train steps | {ledger.step:,} |
| worst answer | {ledger.worst_s * 1000:.0f} ms; while ingest itself was hit {ledger.worst_in_fault_s * 1000:.0f} ms |
| restarts seen by the monitor since the last start | {restarts} |

| fault | times |
|---|---|
{faults}

| process | private memory at the end, MiB | at most, MiB | slope, MiB a minute |
|---|---|---|---|
{memory}

Lost, corrupt or wedged:

{wrong}
"""


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long.")
@click.option("--rate", default=2000.0, show_default=True, help="Samples a second.")
@click.option("--seed", default=0, show_default=True, help="Seed of the faults.")
def main(seconds: float, rate: float, seed: int) -> None:
    """Load a sidecar, break it in every way for a while, and account for every sample."""
    with (
        tempfile.TemporaryDirectory(prefix="vmafx-soak-") as directory,
        Sidecar(Path(directory), **SETTINGS, VMAFX_SIDECAR_ARCHIVE_DIR=f"{directory}/archive") as sidecar,
    ):
        sidecar.start()
        ledger = soak(sidecar, seconds, rate, Random(seed))
        sidecar.wait_for(lambda: sidecar.is_well() and sidecar.reported().trainer.lag == 0)
        ledger.errors += sidecar.fsck()
        health = sidecar.reported()
        if sidecar.stop() != 0:
            ledger.errors.append("the last stop ended with an error")
        ledger.compare(archive_of(sidecar))
        click.echo(report(ledger, health, seconds))
    sys.exit(1 if ledger.errors or ledger.accounted < ledger.answered else 0)


if __name__ == "__main__":
    main()
