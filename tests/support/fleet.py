"""A pool, started as an operator starts it, and what is in a fleet's stream."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import nats

from pipeline.data import BASE_MODEL
from pipeline.fleet import models, names
from pipeline.fleet.faults import FleetFault
from pipeline.fleet.message import pack, unpack, words_of
from pipeline.model.graph import load_base_model
from pipeline.runtime import messages
from pipeline.runtime.messages import StreamPosition
from pipeline.shm.rows import RowBatch
from tests.support.nats import NatsServer
from tests.support.sidecar import N_FEATURES, QUICK, Sidecar
from tests.support.stream import numbered, numbers

BASE = load_base_model(BASE_MODEL).digest
PLENTY = "100000"
"""A quota that is never reached."""


def member(server: NatsServer, node: str = "one", **others: str) -> dict[str, str]:
    """Return the settings of a sidecar in the fleet of `server`."""
    fleet = {"VMAFX_FLEET_URL": server.url, "VMAFX_FLEET_NODE": node, "VMAFX_FLEET_QUOTA": PLENTY}
    return QUICK | {"VMAFX_BASE_MODEL_PATH": str(BASE_MODEL)} | fleet | others


class Pool(Sidecar):
    """`vmafx-sidecar pool run` in `directory`; two may have one name."""

    def __init__(self, directory: Path, server: NatsServer, name: str = "main", **others: str) -> None:
        directory.mkdir(exist_ok=True)
        self.name = name
        instance = f"pool{abs(hash(str(directory))) % 10**12}"
        super().__init__(directory, **(member(server) | {"VMAFX_SIDECAR_INSTANCE": instance} | others))
        self.environment["VMAFX_POOL"] = name

    def run_command(self) -> list[str]:
        """Return the command that `launch` runs."""
        return [sys.executable, "-m", "pipeline", "pool", "run", "--name", self.name]

    def position(self) -> StreamPosition:
        """Return how far it has read the stream."""
        from pipeline.runtime import regions

        letter = regions.attach_mailbox(self.settings, "stream")[0].read()
        assert letter is not None
        return messages.decode_position(letter.payload)


def asked(server: NatsServer, job: Any) -> Any:
    """Have a coroutine of a client done against a server, in a connection of its own."""

    async def run() -> Any:
        client = await nats.connect(server.url)
        try:
            return await job(client)
        finally:
            await client.close()

    return asyncio.run(run())


def announced(server: NatsServer, base_sha256: str) -> int:
    """Return the version of which a pool says that it is its newest; 0 for none."""

    async def job(client: Any) -> int:
        try:
            said = (await models.read(client, "default", base_sha256)).said
        except FleetFault as fault:
            if fault.kind != "lost":  # there is no bucket yet
                raise
            return 0
        return said.version if said else 0

    version: int = asked(server, job)
    return version


def streamed(server: NatsServer, tenant: str = "default") -> list[RowBatch]:
    """Return the rows of every message in the stream."""

    async def job(client: Any) -> list[RowBatch]:
        js = client.jetstream()
        info = await js.stream_info(names.stream(tenant))
        found = []
        for sequence in range(info.state.first_seq, info.state.last_seq + 1):
            message = await js.get_msg(names.stream(tenant), sequence)
            words = words_of(unpack(message.data), N_FEATURES).copy()
            found.append(RowBatch.over(words, N_FEATURES))
        return found

    rows: list[RowBatch] = asked(server, job)
    return rows


def rows_from(first: int, count: int) -> RowBatch:
    """Return numbered samples as rows."""
    rows = RowBatch(count, 6)
    for place, number in enumerate(range(first, first + count)):
        sample = numbered(number)
        rows.features[place], rows.score[place] = sample["features"], sample["true_score"]
        rows.group[place], rows.job[place], rows.arrival[place] = number % 23 + 1, number, 1.75e9
    return rows


class Sending:
    """Publishes numbered samples, in messages of ten, each acknowledged."""

    def __init__(self, server: NatsServer, node: str = "one", tenant: str = "default") -> None:
        self._server, self._subject = server, names.subject(tenant, node)
        self.sent = 0

    def send(self, count: int) -> None:
        """Send further samples."""

        async def job(client: object) -> None:
            js = client.jetstream()  # type: ignore[attr-defined]
            for first in range(self.sent + 1, self.sent + count + 1, 10):
                data = pack(rows_from(first, 10), base=BASE, target="true_score", sent=first - 1)
                await js.publish(self._subject, data, headers={"Nats-Msg-Id": f"{self._subject}-{first}"})

        asked(self._server, job)
        self.sent += count


def taken(pool: Pool) -> list[int]:
    """Return which samples are in the pool's ring."""
    return sorted(numbers(pool.rows()))


def ready(pool: Pool) -> None:
    """Wait until it reads."""
    pool.wait_for(lambda: pool.is_well() and pool.reported().ingest.stream and pool.position().made)


def has_learned(pool: Pool, count: int) -> bool:
    """Whether so many samples are in the ring and the trainer has read all that is there. Its own lag may be old."""
    report = pool.reported()
    return report.trainer.cursor == report.ingest.accepted >= count


def has_all(pool: Pool, sending: Sending) -> None:
    """Wait until the trainer has learned from all that was sent, and each is there once."""
    pool.wait_for(lambda: has_learned(pool, sending.sent))
    assert taken(pool) == list(range(1, sending.sent + 1))


def killed_behind(pool: Pool, sending: Sending) -> None:
    """Kill the pool when it has learned from the first hundred samples, and send three hundred more."""
    pool.launch()
    ready(pool)
    sending.send(100)
    has_all(pool, sending)
    pool.kill_all()
    sending.send(300)
