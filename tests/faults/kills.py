"""Ingest is killed again and again under a node that behaves as the Go one does: `python -m tests.faults.kills`."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from tests.faults.node_client import NodeClient, Tally
from tests.support.sidecar import SIX, Sidecar, running


@dataclass(frozen=True)
class Outcome:
    """What the node saw, and how many samples the ring has had."""

    kills: int
    tally: Tally
    stored: int

    @property
    def sound(self) -> bool:
        """Whether no dial was refused, nothing was dropped, and each message was answered and stored once."""
        tally = self.tally
        once = tally.answered_once == tally.produced == len(tally.answers) == self.stored
        return once and not (tally.refused_dials or tally.dropped or tally.rejected)

    def table(self) -> str:
        """Return the figures as text."""
        tally = self.tally
        rows = {
            "kills of ingest": self.kills,
            "messages": tally.produced,
            "answered once": tally.answered_once,
            "in the ring": self.stored,
            "connections lost": tally.lost_connections,
            "answers later than two seconds": tally.late,
            "dials": tally.dials,
            "dials refused": tally.refused_dials,
            "messages dropped": tally.dropped,
            "worst answer, ms": round(1000 * tally.worst_s),
        }
        return "\n".join(f"| {name} | {value:,} |" for name, value in rows.items())


def measure(directory: Path, kills: int, every_s: float, rate: float, number: int) -> Outcome:
    """Send signal `number` to ingest `kills` times, `every_s` seconds apart, under `rate` messages a second."""
    capacity = max(10_000, int(2 * rate * every_s * (kills + 1)))
    with running(directory, **SIX, VMAFX_SIDECAR_REPLAY_CAPACITY=str(capacity)) as sidecar:
        client = NodeClient(str(sidecar.socket), rate)
        for _ in range(kills):
            time.sleep(every_s)
            _kill(sidecar, number)
        time.sleep(every_s)
        tally = client.stop()
        return Outcome(kills, tally, sidecar.ring().head)


def _kill(sidecar: Sidecar, number: int) -> None:
    pid = sidecar.signal("ingest", number)
    sidecar.wait_for(lambda: sidecar.is_served() and sidecar.pid("ingest") != pid)


@click.command()
@click.option("--kills", default=20, show_default=True, help="How often ingest is killed.")
@click.option("--every", default=10.0, show_default=True, help="Seconds between two kills.")
@click.option("--rate", default=2000.0, show_default=True, help="Messages a second.")
@click.option("--signal", "name", default="KILL", show_default=True, type=click.Choice(["KILL", "TERM"]))
def main(kills: int, every: float, rate: float, name: str) -> None:
    """Kill ingest under load, and account for every message. Ends with 1 where one was lost, doubled or refused."""
    with tempfile.TemporaryDirectory(prefix="vmafx-kills-") as directory:
        outcome = measure(Path(directory), kills, every, rate, signal.Signals[f"SIG{name}"])
    click.echo(outcome.table())
    sys.exit(0 if outcome.sound else 1)


if __name__ == "__main__":
    main()
