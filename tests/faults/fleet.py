"""A fleet under faults: `python -m tests.faults.fleet --seconds 600`.

Two sidecars with clients, a pool, a server, and a network between them. A random fault every few seconds: processes of
sidecars and pool killed or halted, the server killed, the network cut or connections closed, the consumer or the whole
stream deleted, the pool's memory lost. At the end every sample that was answered is in the pool's ring once, or was
counted as lost; the trainer has learned from each once. Ends with a report, and with 1 where that is not so.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click

from pipeline.checkpoints.names import published
from pipeline.fleet import names
from tests.faults.dropping_proxy import DroppingProxy
from tests.support import stream as streams
from tests.support.fleet import Pool, asked, member
from tests.support.nats import NatsServer
from tests.support.sidecar import Sidecar
from tests.support.stream import Stream, numbers

SETTINGS = {
    "VMAFX_SIDECAR_REPLAY_CAPACITY": "100000",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "5",
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "10",
    "VMAFX_SIDECAR_LOG_LEVEL": "warning",
    "VMAFX_FLEET_BYTES": str(1 << 32),
}
_APART = 500_000
"""Samples of the second client are numbered from here on."""
_PAUSE_S = 0.02
_HALT_S = 4.0
_CUT_S = 8.0


class Fleet(NamedTuple):
    """Everything that a fault may hit."""

    server: NatsServer
    proxy: DroppingProxy
    sidecars: tuple[Sidecar, ...]
    pool: Pool


def _signalled(fleet: Fleet, rng: Random, number: signal.Signals) -> None:
    sidecar, role = rng.choice(
        [*((each, "uplink") for each in fleet.sidecars), *((fleet.pool, role) for role in ("ingest", "trainer"))]
    )
    pid = sidecar.signal(role, number)
    if number == signal.SIGSTOP:
        time.sleep(_HALT_S)
        sidecar.signal(role, signal.SIGCONT)
    else:
        sidecar.wait_for(lambda: sidecar.pid(role) != pid)


def _kill(fleet: Fleet, rng: Random) -> None:
    _signalled(fleet, rng, signal.SIGKILL)


def _halt(fleet: Fleet, rng: Random) -> None:
    _signalled(fleet, rng, signal.SIGSTOP)


def _kill_server(fleet: Fleet, rng: Random) -> None:
    fleet.server.kill()
    time.sleep(rng.uniform(0, 5))
    fleet.server.start()


def _halt_server(fleet: Fleet, _rng: Random) -> None:
    fleet.server.process.send_signal(signal.SIGSTOP)
    time.sleep(_HALT_S)
    fleet.server.process.send_signal(signal.SIGCONT)


def _cut_network(fleet: Fleet, rng: Random) -> None:
    fleet.proxy.cut()
    time.sleep(rng.uniform(1, _CUT_S))
    fleet.proxy.mend()


def _close_connections(fleet: Fleet, _rng: Random) -> None:
    fleet.proxy.close_all()


def _delete_consumer(fleet: Fleet, _rng: Random) -> None:
    asked(fleet.server, lambda client: client.jetstream().delete_consumer(names.stream("default"), "pool-main"))


def _delete_stream(fleet: Fleet, _rng: Random) -> None:
    asked(fleet.server, lambda client: client.jetstream().delete_stream(names.stream("default")))


def _lose_memory(fleet: Fleet, _rng: Random) -> None:
    fleet.pool.kill_all()
    fleet.pool.lose_memory()
    fleet.pool.launch()


FAULTS: dict[str, Callable[[Fleet, Random], None]] = {
    "kill a process": _kill,
    "halt a process": _halt,
    "kill the server": _kill_server,
    "halt the server": _halt_server,
    "cut the network": _cut_network,
    "close all connections": _close_connections,
    "delete the consumer": _delete_consumer,
    "delete the stream": _delete_stream,
    "lose the pool's memory": _lose_memory,
}


def torment(fleet: Fleet, seconds: float, rng: Random, say: Callable[[str], None]) -> Counter[str]:
    """Bring about faults for so long; return how many of each there were."""
    done: Counter[str] = Counter()
    began, versions = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        time.sleep(rng.uniform(2, 5))
        name = rng.choice(list(FAULTS))
        try:
            FAULTS[name](fleet, rng)
        except Exception as error:
            if not _is_of_the_fault_before(error):
                raise
            continue
        done[name] += 1
        newest = max(published(fleet.pool.checkpoints), default=0)
        assert newest >= versions, f"the pool's newest version fell from {versions} to {newest}"
        versions = newest
        say(f"{time.monotonic() - began:7.0f} s  {name}")
    return done


def _is_of_the_fault_before(error: Exception) -> bool:
    """Whether a fault could not be brought about since the one before is still at work."""
    return isinstance(error, OSError) or type(error).__module__.startswith("nats.")


def differences(fleet: Fleet, clients: tuple[Stream, ...]) -> list[str]:
    """Wait until all is quiet; return what is not as it should be."""
    pool = fleet.pool

    def is_quiet() -> bool:
        uplinks = [each.reported().uplink for each in fleet.sidecars]
        return (
            not any(uplink.behind or uplink.failing for uplink in uplinks)
            and pool.is_well()
            and not pool.reported().ingest.failing
            and not pool.reported().ingest.unread
            and pool.reported().ingest.accepted + _lost(pool) >= sum(uplink.sent for uplink in uplinks)
            and not pool.reported().trainer.lag
        )

    pool.wait_for(is_quiet)
    answered = [number for client in clients for number in client.answered]
    there, report = numbers(pool.rows()), pool.reported()
    uplinks = [each.reported().uplink for each in fleet.sidecars]
    missing = set(answered) - set(there)
    kept_back = sum(uplink.missed + uplink.left_out for uplink in uplinks)
    found = {
        f"{len(there) - len(set(there))} samples twice in the pool's ring": len(there) != len(set(there)),
        f"{len(missing)} samples missing, {_lost(pool)} counted as lost, {kept_back} kept back": len(missing)
        > _lost(pool) + kept_back,
        f"{report.trainer.cursor} samples learned from, {report.ingest.accepted} in the ring": report.trainer.cursor
        != report.ingest.accepted,
        f"{report.trainer.evicted_untrained} evicted": bool(report.trainer.evicted_untrained),
    }
    unsound = [problem for each in (*fleet.sidecars, pool) for problem in each.fsck()]
    return [text for text, wrong in found.items() if wrong] + unsound


def _lost(pool: Pool) -> int:
    return sum(sender.lost for sender in pool.position().senders.values())


@click.command()
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(seconds: float, seed: int) -> None:
    """Run, and report."""
    streams._PAUSE_S = _PAUSE_S
    with tempfile.TemporaryDirectory(prefix="vmafx-fleet-") as directory:
        faults, wrong, numbers_of = _run(Path(directory), seconds, Random(seed))
    click.echo(f"{sum(faults.values())} faults: " + ", ".join(f"{name} {count}" for name, count in faults.items()))
    click.echo(numbers_of)
    click.echo("\n".join(wrong) or "every sample once, or counted")
    sys.exit(bool(wrong))


def _run(root: Path, seconds: float, rng: Random) -> tuple[Counter[str], list[str], str]:
    with NatsServer(root / "nats") as server, DroppingProxy(server.port) as proxy:
        url = {"VMAFX_FLEET_URL": f"nats://127.0.0.1:{proxy.port}"}
        homes = [root / name for name in ("one", "two")]
        for home in homes:
            home.mkdir()
        members: list[Any] = [Sidecar(home, **(member(server, home.name) | SETTINGS | url)) for home in homes]
        pool = Pool(root / "pool", server, **(SETTINGS | url | {"VMAFX_SIDECAR_REPLAY_CAPACITY": "1000000"}))
        with pool, members[0], members[1]:
            pool.launch()
            for each in members:
                each.start()
            pool.wait_for(lambda: pool.is_well() and pool.position().made)
            fleet = Fleet(server, proxy, tuple(members), pool)
            with Stream(members[0]) as one, Stream(members[1], first=_APART) as two:
                faults = torment(fleet, seconds, rng, lambda line: click.echo(line, err=True))
            wrong = differences(fleet, (one, two))
            answered = len(one.answered) + len(two.answered)
            said = f"{answered:,} answered, {len(pool.rows()):,} in the pool's ring, {_lost(pool):,} lost and counted"
    return faults, wrong, said


if __name__ == "__main__":
    main()
