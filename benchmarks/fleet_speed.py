"""The fleet's two ends: what the intake takes, against a consumer that throws away, and what the uplink costs.

Both readers drain the same stream in turn, each in a process of its own; rates are by its own processor time. The
uplink runs in a real sidecar to which a client sends ten times its quota.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable

import nats
import numpy as np
import psutil

from benchmarks import nats_server, traffic
from benchmarks.clients import apart, paced
from benchmarks.figures import Figure, at_least, at_most
from benchmarks.sidecar import running
from pipeline import config
from pipeline.config import Settings
from pipeline.fleet import names, stream
from pipeline.fleet.link import Link
from pipeline.fleet.message import pack
from pipeline.ingest.names import Owners
from pipeline.intake.admission import Admission
from pipeline.intake.reader import Reader
from pipeline.intake.seen import SeenKeys
from pipeline.runtime.messages import StreamPosition
from pipeline.shm.ring import Ring

BOUND = (
    "the client library: most of the time goes into its parsing and its event loop, in both readers. The uplink is "
    "bounded by a wake-up a second and a message of 32 samples in 1.6 s."
)
ROUNDS = 3
_ROWS = 200_000
_SENDERS = 50
_A_FETCH = 128
_CAPACITY = 100_000
_QUOTA = 20
_SECONDS = 30.0
_WARM_UP = 1000


def figures() -> list[Figure]:
    """Measure at 6 and 80 features, with messages of a slow and of a fast sender; then the uplink."""
    if nats_server.find() is None:
        return [Figure("intake", "a bare consumer", "-", (), note="there is no nats-server")]
    found = [_compare(n_features, size) for n_features in (6, 80) for size in (32, 256)]
    return [*found, _uplink()]


def _compare(n_features: int, size: int) -> Figure:
    with nats_server.serving() as (url, _):
        settings = config.load({"VMAFX_FLEET_URL": url, "VMAFX_POOL": "bench", "VMAFX_FLEET_QUOTA": "1000000"})
        count = _ROWS // size
        asyncio.run(_fill(settings, n_features, size, count))
        ratios = tuple(
            _apart(_intake, settings, n_features, count, size) / _apart(_bare, settings, n_features, count, size)
            for _ in range(ROUNDS)
        )
    setting = f"{n_features} features, {size} samples a message"
    return at_least("intake, by processor time", "a consumer that throws away", setting, ratios, 0.6)


async def _fill(settings: Settings, n_features: int, size: int, count: int) -> None:
    client = await nats.connect(settings.fleet[0])
    await stream.ensure(client, settings)
    js = client.jetstream()
    for number in range(count):
        data = pack(traffic.rows(size, n_features, seed=number), base="b", target="true_score", sent=number * size)
        subject = names.subject("default", f"node-{number % _SENDERS}")
        await js.publish(subject, data, headers={"Nats-Msg-Id": f"0123456789abcdef-{number}"})
    await client.close()


def _apart(
    reader: Callable[[Settings, int, int], float], settings: Settings, n_features: int, count: int, size: int
) -> float:
    """Return samples a second of its processor's time that a reader takes in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return count * size / pool.apply(reader, (settings, n_features, count))


def _bare(settings: Settings, _n_features: int, count: int) -> float:
    async def drain() -> float:
        client = await nats.connect(settings.fleet[0])
        await stream.read_from(client, "default", "bare", 1)
        reader = await client.jetstream().pull_subscribe_bind("bare", names.stream("default"))
        began, seen = time.process_time(), 0
        while seen < count:
            messages = await reader.fetch(_A_FETCH, timeout=1)
            seen += len(messages)
            await messages[-1].ack()
        used = time.process_time() - began
        await client.close()
        return used

    return asyncio.run(drain())


def _intake(settings: Settings, n_features: int, count: int) -> float:
    ring, position = Ring.private(_CAPACITY, n_features), StreamPosition()
    admission = Admission(
        ring,
        SeenKeys(_CAPACITY, np.zeros(0, np.uint64)),
        Owners(),
        position,
        tenant="default",
        target="true_score",
        quota=1e9,
    )
    link = Link(settings, "bench")
    while not link.is_up:
        time.sleep(0.001)
    reader = Reader(settings, "bench", "bench")
    link.begin(reader.open("", 0), 60.0).result()
    began = time.process_time()
    fetching = link.begin(reader.fetch(0))
    while position.read < count:
        received, last = fetching.result()
        fetching = link.begin(reader.fetch(received[-1].sequence if received else position.read))
        admission.admit(received, "b")
        if last is not None:
            link.begin(lambda _client, last=last: last.ack())  # type: ignore[misc]
    used = time.process_time() - began
    link.close()
    if admission.resent or admission.rejected:
        raise RuntimeError(f"{admission.resent} samples taken for resends, refused: {admission.rejected}")
    return used


def _uplink() -> Figure:
    with nats_server.serving() as (url, _):
        asyncio.run(_stream_at(url))
        with running(80, VMAFX_FLEET_URL=url, VMAFX_FLEET_QUOTA=str(_QUOTA)) as sidecar:
            lines = traffic.messages(_WARM_UP + int(10 * _QUOTA * _SECONDS), 80)
            process = psutil.Process(sidecar.board.uplink().pid)
            apart(paced, sidecar.socket, lines[:_WARM_UP], 1, 10.0 * _QUOTA, _WARM_UP / (10 * _QUOTA))
            used = sum(process.cpu_times()[:2])
            began = time.monotonic()
            apart(paced, sidecar.socket, lines[_WARM_UP:], 1, 10.0 * _QUOTA, _SECONDS)
            share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began)
            if not sidecar.board.uplink().sent:
                raise RuntimeError("the uplink has sent nothing")
    setting = f"80 features, {_QUOTA} of {10 * _QUOTA} samples/s shared"
    return at_most("uplink, processor", "one core", setting, (100 * share,), 1, "%")


async def _stream_at(url: str) -> None:
    client = await nats.connect(url)
    await stream.ensure(client, config.load({"VMAFX_FLEET_URL": url}))
    await client.close()
