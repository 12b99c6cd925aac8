"""Many uplinks and one pool on one machine: `python -m benchmarks.fleet_scale --uplinks 1000 --seconds 600`.

A real server and a real pool; the uplinks are simulated by few processes, which send what uplinks at their quota send:
messages of 32 samples, each node on its own subject. At the end each sample is accounted for.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.context import SpawnContext
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import click
import nats
import psutil
from nats.aio.client import Client

from benchmarks import nats_server, traffic
from benchmarks.sidecar import Sidecar, environment_in
from pipeline import config
from pipeline.data import BASE_MODEL
from pipeline.demo.sidecar import Sidecar as Launched
from pipeline.fleet import names
from pipeline.fleet.message import pack
from pipeline.model.graph import load_base_model
from pipeline.runtime import regions
from pipeline.runtime.reports import Board
from pipeline.shm.segment import SegmentError

_MESSAGE = 32
_PER_CONNECTION = 10
_LOOK_S = 10.0
_START_S = 60.0
_MOST_DIFFERENT = 64
_MIB = 1 << 20


@click.command()
@click.option("--uplinks", default=1000, show_default=True)
@click.option("--rate", default=20.0, show_default=True, help="Samples a second of each.")
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--senders", default=2, show_default=True, help="Processes that simulate them.")
def main(uplinks: int, rate: float, seconds: float, senders: int) -> None:
    """Send, look every ten seconds, and account for every sample at the end."""
    context = multiprocessing.get_context("spawn")
    with nats_server.serving() as (url, server), tempfile.TemporaryDirectory(prefix="vmafx-bench-") as directory:
        environment = _environment(Path(directory), url)
        settings = config.load(environment)
        with Launched(environment, Path(directory) / "log", ("pool", "run", "--name", "scale")) as process:
            pool = Sidecar(settings, _running(settings.instance_name, process))
            processes = pool.processes()
            sent, simulated = _simulate(context, url, uplinks, rate, seconds, senders)
            for line in _looks(pool, [psutil.Process(server), *processes], sent, seconds):
                click.echo(line)
            for sender in simulated:
                sender.join()
            click.echo(_account(pool, sent))


def _environment(directory: Path, url: str) -> dict[str, str]:
    fleet = {"VMAFX_FLEET_URL": url, "VMAFX_POOL": "scale", "VMAFX_BASE_MODEL_PATH": str(BASE_MODEL)}
    return environment_in(directory, 6, fleet | {"INSTANCE": f"scale-{os.getpid()}"})


def _running(instance: str, process: Launched) -> Board:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        process.check()
        try:
            board = regions.attach_board(instance)
            if board.trainer().phase == "running" and not board.ingest().failing and board.ingest().stream:
                return board
        except SegmentError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the pool did not start within {_START_S:g} s")


def _simulate(
    context: SpawnContext, url: str, uplinks: int, rate: float, seconds: float, senders: int
) -> tuple[Synchronized[int], list[multiprocessing.process.BaseProcess]]:
    sent = context.Value("q", 0)
    shares = [range(number, uplinks, senders) for number in range(senders)]
    started = [context.Process(target=_send, args=(url, share, rate, seconds, sent)) for share in shares]
    for process in started:
        process.start()
    return sent, list(started)


def _send(url: str, nodes: range, rate: float, seconds: float, sent: Synchronized[int]) -> None:
    base = load_base_model(BASE_MODEL).digest
    asyncio.run(_send_all(url, nodes, base, rate, seconds, sent))


async def _send_all(url: str, nodes: range, base: str, rate: float, seconds: float, sent: Synchronized[int]) -> None:
    clients = [await nats.connect(url) for _ in range(0, len(nodes), _PER_CONNECTION)]
    ends = time.monotonic() + seconds
    await asyncio.gather(
        *(_uplink(clients[place // _PER_CONNECTION], node, base, rate, ends, sent) for place, node in enumerate(nodes))
    )
    for client in clients:
        await client.close()


async def _uplink(client: Client, node: int, base: str, rate: float, ends: float, sent: Synchronized[int]) -> None:
    """Send a message whenever there would be 32 samples; each is acknowledged before the next."""
    js, every, count = client.jetstream(), _MESSAGE / rate, 0
    rows = traffic.rows(_MESSAGE, 6, seed=node)
    due = time.monotonic() + every * (node % 97) / 97
    while due < ends:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        rows.features[:, 0] = (node % 1000) / 1000 + count % 1000 / 1e6
        rows.job[:] += 1
        await js.publish(
            names.subject("default", f"node-{node}"),
            pack(rows, base=base, target="true_score", sent=count * _MESSAGE),
            timeout=30,
        )
        count += 1
        due += every
        with sent.get_lock():
            sent.value += _MESSAGE


def _looks(pool: Sidecar, processes: list[psutil.Process], sent: Synchronized[int], seconds: float) -> Iterator[str]:
    began, before = time.monotonic(), [sum(each.cpu_times()[:2]) for each in processes]
    yield "seconds  sent  taken  unread messages  lag  MiB of server and pool  processor of each"
    while time.monotonic() - began < seconds:
        time.sleep(_LOOK_S)
        ingest, trainer = pool.board.ingest(), pool.board.trainer()
        memory = " ".join(f"{each.memory_full_info().pss / _MIB:.0f}" for each in processes)
        used = [sum(each.cpu_times()[:2]) for each in processes]
        shares = " ".join(f"{(now - then) / _LOOK_S:.2f}" for now, then in zip(used, before, strict=True))
        before = used
        yield (
            f"{time.monotonic() - began:7.0f} {sent.value:,} {ingest.accepted:,} {ingest.unread:,} {trainer.lag:,} "
            f"[{memory}] [{shares}]"
        )


def _account(pool: Sidecar, sent: Synchronized[int]) -> str:
    until = time.monotonic() + 120
    while pool.board.trainer().cursor < sent.value and time.monotonic() < until:
        time.sleep(0.2)
    ingest, trainer = pool.board.ingest(), pool.board.trainer()
    refused = sum(ingest.rejected.values())
    return (
        f"sent {sent.value:,}; learned from {trainer.cursor:,}, evicted {trainer.evicted_untrained:,}, above the quota "
        f"{ingest.over_quota:,}, resent {ingest.resent:,}, lost {ingest.lost:,}, refused {refused:,}"
    )


if __name__ == "__main__":
    main()
