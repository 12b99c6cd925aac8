"""A fleet under faults: `python -m tests.faults.fleet --seconds 600`.

Two sidecars with clients, a pool, a server, and a network between them. A random fault every few seconds: processes of
sidecars and pool killed or halted, the server killed, its disk or its account full, the network cut or connections
closed, clocks stepped by hours, the consumer or the whole stream deleted, the pool's memory lost. At the end every
sample that was answered is in the pool's ring once, or was counted as lost; the trainer has learned from each once; the
pool's versions, and the one that it announces, have only grown. Ends with a report, and with 1 where that is not so.

What a machine does not allow (a disk of one's own, another clock for a server) is left out, and named at the beginning.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click
import psutil
from nats.js.errors import NotFoundError

from pipeline.checkpoints import pointers
from pipeline.checkpoints.names import published
from pipeline.data import BASE_MODEL
from pipeline.fleet import names
from pipeline.model.graph import load_base_model
from tests.faults import stepped_clock
from tests.faults.dropping_proxy import DroppingProxy
from tests.faults.namespace import fill, has_namespace, small_disk
from tests.faults.stepped_clock import SteppedServer
from tests.support import stream as streams
from tests.support.fleet import Pool, announced, asked, member
from tests.support.nats import NatsServer, free_port
from tests.support.sidecar import Sidecar
from tests.support.stream import Stream, numbers

SETTINGS = {
    "VMAFX_SIDECAR_REPLAY_CAPACITY": "100000",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "5",
    "VMAFX_SIDECAR_STATE_INTERVAL_S": "10",
    "VMAFX_SIDECAR_LOG_LEVEL": "warning",
    "VMAFX_FLEET_BYTES": str(128 << 20),
}
_APART = 500_000
"""Samples of the second client are numbered from here on."""
_PAUSE_S = 0.02
_HALT_S = 4.0
_CUT_S = 8.0
_FULL_S = 5.0, 15.0
_DISK = "256m"
_PLENTY, _SCARCE = 10**9, 10**4
"""Bytes that the account may store."""
_HOUR_S = 3600
_STEPS = (-7, -2, 0, 2, 7)
"""Hours from what it is that a clock may be stepped to."""


class Fleet(NamedTuple):
    """Everything that a fault may hit. disk: of the server; None: it has none of its own. clocks: step one each."""

    server: NatsServer
    proxy: DroppingProxy
    sidecars: tuple[Sidecar, ...]
    pool: Pool
    disk: Path | None
    clocks: tuple[Callable[[int], object], ...]


class Impossible(Exception):
    """A fault could not be brought about, since the one before is still at work."""


class Report(NamedTuple):
    """How many faults of each kind there were, and how many of each could not be brought about; what was wrong."""

    done: Counter[str]
    impossible: Counter[str]
    wrong: list[str]


def _signalled(fleet: Fleet, rng: Random, number: signal.Signals) -> None:
    sidecar, role = rng.choice(
        [*((each, "uplink") for each in fleet.sidecars), *((fleet.pool, role) for role in ("ingest", "trainer"))]
    )
    try:
        pid = sidecar.signal(role, number)
    except ProcessLookupError:
        raise Impossible from None  # it is being started again
    if number == signal.SIGKILL:
        sidecar.wait_for(lambda: sidecar.pid(role) != pid)
        return
    time.sleep(_HALT_S)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


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


def _fill_disk(fleet: Fleet, rng: Random) -> None:
    assert fleet.disk is not None
    filler = fill(fleet.disk)
    time.sleep(rng.uniform(*_FULL_S))
    filler.unlink()
    rng.choice((fleet.server.kill, fleet.server.stop))()
    fleet.server.start()


def _limit_account(fleet: Fleet, rng: Random) -> None:
    file = fleet.server.directory / "nats.conf"
    text = file.read_text()
    file.write_text(text.replace(str(_PLENTY), str(_SCARCE)))
    fleet.server.reload()
    time.sleep(rng.uniform(*_FULL_S))
    file.write_text(text)
    fleet.server.reload()


def _step_clock(fleet: Fleet, rng: Random) -> None:
    rng.choice(fleet.clocks)(rng.choice(_STEPS) * _HOUR_S)


def _cut_network(fleet: Fleet, rng: Random) -> None:
    fleet.proxy.cut()
    time.sleep(rng.uniform(1, _CUT_S))
    fleet.proxy.mend()


def _close_connections(fleet: Fleet, _rng: Random) -> None:
    fleet.proxy.close_all()


def _delete_consumer(fleet: Fleet, _rng: Random) -> None:
    _delete(fleet, lambda client: client.jetstream().delete_consumer(names.stream("default"), "pool-main"))


def _delete_stream(fleet: Fleet, _rng: Random) -> None:
    _delete(fleet, lambda client: client.jetstream().delete_stream(names.stream("default")))


def _delete(fleet: Fleet, job: Callable[[Any], Any]) -> None:
    try:
        asked(fleet.server, job)
    except NotFoundError:
        raise Impossible from None  # the pool has not made it again


def _lose_memory(fleet: Fleet, _rng: Random) -> None:
    fleet.pool.kill_all()
    fleet.pool.lose_memory()
    fleet.pool.start()


FAULTS: dict[str, Callable[[Fleet, Random], None]] = {
    "kill a process": _kill,
    "halt a process": _halt,
    "kill the server": _kill_server,
    "halt the server": _halt_server,
    "fill the server's disk": _fill_disk,
    "limit the account": _limit_account,
    "step a clock": _step_clock,
    "cut the network": _cut_network,
    "close all connections": _close_connections,
    "delete the consumer": _delete_consumer,
    "delete the stream": _delete_stream,
    "lose the pool's memory": _lose_memory,
}


def torment(fleet: Fleet, seconds: float, rng: Random, say: Callable[[str], None]) -> Report:
    """Bring about faults for so long."""
    report = Report(Counter(), Counter(), [])
    possible = [
        name
        for name, fault in FAULTS.items()
        if (fleet.disk is not None or fault is not _fill_disk) and (fleet.clocks or fault is not _step_clock)
    ]
    began, before = time.monotonic(), _newest(fleet)
    for name in _drawn(possible, rng):
        time.sleep(rng.uniform(2, 5))
        if time.monotonic() > began + seconds:
            break
        try:
            FAULTS[name](fleet, rng)
        except Impossible:
            report.impossible[name] += 1
            continue
        report.done[name] += 1
        say(f"{time.monotonic() - began:7.0f} s  {name}")
        newest = _newest(fleet)
        report.wrong.extend(
            f"{what} fell from {before[what]} to {newest[what]} after: {name}"
            for what in newest
            if newest[what] < before[what]
        )
        before = newest
    return report


def _drawn(names_of: list[str], rng: Random) -> Iterator[str]:
    """Give names without end, each as often as the others, in an order by chance."""
    while True:
        yield from rng.sample(names_of, len(names_of))


def _newest(fleet: Fleet) -> dict[str, int]:
    """Return the versions that may only grow; 0 for none."""
    directory = fleet.pool.checkpoints
    return {
        "the pool's newest version": max(published(directory), default=0),
        "its stable version": pointers.pointed(directory, pointers.LATEST_STABLE) or 0,
        "the version that it announces": announced(fleet.server, load_base_model(BASE_MODEL).digest),
    }


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
            and pool.reported().trainer.cursor == pool.reported().ingest.accepted
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


def memory(fleet: Fleet) -> dict[str, float]:
    """Return the MiB that each of these processes has for itself, without what lies in shared memory."""
    pids = {"intake": fleet.pool.pid("ingest"), "trainer": fleet.pool.pid("trainer")}
    pids |= {f"uplink {number}": each.pid("uplink") for number, each in enumerate(fleet.sidecars, 1)}
    return {name: psutil.Process(pid).memory_full_info().uss / 2**20 for name, pid in pids.items()}


@click.command()
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(seconds: float, seed: int) -> None:
    """Run, and report."""
    streams._PAUSE_S = _PAUSE_S
    with tempfile.TemporaryDirectory(prefix="vmafx-fleet-") as directory, ExitStack() as stack:
        report, lines = _run(Path(directory), stack, seconds, Random(seed))
    click.echo(f"{sum(report.done.values())} faults, seed {seed}")
    for name in FAULTS:
        left = f", {report.impossible[name]} not possible at that moment" if report.impossible[name] else ""
        click.echo(f"  {report.done[name]:3}  {name}{left}")
    click.echo("\n".join([*lines, *(report.wrong or ["every sample once, or counted"])]))
    sys.exit(bool(report.wrong))


def _server(root: Path, stack: ExitStack) -> tuple[NatsServer, Path | None]:
    """Start a server, with a disk of its own and a clock that can be stepped where the machine allows it."""
    disk, place, port = None, root / "nats", free_port()
    place.mkdir()
    if has_namespace():
        (root / "disk").mkdir()
        disk = stack.enter_context(small_disk(root / "disk", _DISK))
    (place / "nats.conf").write_text(
        f'listen: "127.0.0.1:{port}"\n'
        f'jetstream {{ store_dir: "{disk or place}/store", max_file_store: {2 * _PLENTY} }}\n'
        f"accounts {{ A {{ jetstream {{ max_file: {_PLENTY} }}, users: [{{user: a, password: a}}] }} }}\n"
        "no_auth_user: a\n"
    )
    kind = SteppedServer if stepped_clock.servers_can_be_stepped() else NatsServer
    return stack.enter_context(kind(place, port=port)), disk


def _clock(root: Path, name: str, library: Path) -> tuple[Callable[[int], object], dict[str, str]]:
    """Return what steps a clock, and the settings of whoever is to go by it."""
    file = root / f"clock-{name}"
    file.write_text("0")
    return (
        lambda seconds: file.write_text(str(seconds)),
        {"LD_PRELOAD": str(library), "STEPPED_CLOCK": str(file)},
    )


def _run(root: Path, stack: ExitStack, seconds: float, rng: Random) -> tuple[Report, list[str]]:
    server, disk = _server(root, stack)
    proxy = stack.enter_context(DroppingProxy(server.port))
    url = {"VMAFX_FLEET_URL": f"nats://127.0.0.1:{proxy.port}"}
    registry = root / "registry"
    registry.mkdir()
    library = stepped_clock.build(root) if stepped_clock.COMPILER else None
    clocks: list[Callable[[int], object]] = [server.step] if isinstance(server, SteppedServer) else []
    settings: dict[str, dict[str, str]] = {}
    for name in ("one", "two", "pool"):
        (root / name).mkdir()
        step, of_clock = _clock(root, name, library) if library else (None, {})
        clocks += [step] if step else []
        settings[name] = SETTINGS | url | of_clock
    for what, there in (("no disk of the server's own", disk), ("no clock to step", clocks)):
        if not there:
            click.echo(f"{what} on this machine: left out", err=True)
    members = [
        stack.enter_context(Sidecar(root / name, **(member(server, name) | settings[name]))) for name in ("one", "two")
    ]
    of_pool = {"VMAFX_SIDECAR_REPLAY_CAPACITY": "1000000", "VMAFX_REGISTRY_URL": registry.as_uri()}
    pool = stack.enter_context(Pool(root / "pool", server, **(settings["pool"] | of_pool)))
    pool.launch()
    for each in members:
        each.start()
    pool.wait_for(lambda: pool.is_well() and pool.position().made)
    fleet = Fleet(server, proxy, tuple(members), pool, disk, tuple(clocks))
    with Stream(members[0]) as one, Stream(members[1], first=_APART) as two:
        one.wait_for_more(1000)
        begin = memory(fleet)
        report = torment(fleet, seconds, rng, lambda line: click.echo(line, err=True))
    report.wrong.extend(differences(fleet, (one, two)))
    end = memory(fleet)
    answered = len(one.answered) + len(two.answered)
    return report, [
        f"{answered:,} answered, {len(pool.rows()):,} in the pool's ring, {_lost(pool):,} lost and counted",
        "memory, MiB: " + ", ".join(f"{name} {begin[name]:.0f} to {end[name]:.0f}" for name in begin),
    ]


if __name__ == "__main__":
    main()
