"""The fleet's demo itself: a NATS server, a pool, four sidecars and their nodes, and who watches them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline import config
from pipeline.artifacts import offer
from pipeline.artifacts.offer import Slot
from pipeline.checkpoints import checkpoint
from pipeline.checkpoints.names import file_of, published
from pipeline.demo.alone import Learned
from pipeline.demo.deal import dealt
from pipeline.demo.fleet_display import FleetDisplay, Line
from pipeline.demo.run import DemoFailedError, pause, wait_until_listening
from pipeline.demo.servers import MISSING, NatsServer, nats_server
from pipeline.demo.sidecar import Sidecar
from pipeline.model.runtime import OnnxModel
from pipeline.node.fake_node import FakeNode, NodeOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.config import Settings
    from pipeline.corpus.table import Corpus
    from pipeline.demo.judge import Judge
    from pipeline.node.schedule import Stop
    from pipeline.runtime.reports import Board

CHECKPOINTS = 8
"""How often each sidecar and the pool publish while the nodes stream."""
_QUOTA = 1e6
"""All samples are shared: a node of the demo has few. The default is 20 a second."""
_START_S = 180.0
"""All of them start at once."""
_SETTLE_S = 60.0


@dataclass(frozen=True)
class FleetDemo:
    """What to play: each row of the corpus's part to stream is sent once, by one of the nodes, in so many seconds.

    directory is empty, for sockets, checkpoints, stream and registry; logs is where the programs' output goes.
    """

    corpus: Corpus
    target: str
    base_model: Path
    seconds: float
    directory: Path
    logs: Path
    name: str = field(default_factory=lambda: f"demo-{secrets.token_hex(4)}")

    @property
    def nodes(self) -> list[Corpus]:
        """The rows of each node."""
        return dealt(self.corpus)[0]

    @property
    def judged(self) -> Corpus:
        """The rows of the sources that nobody sends."""
        return dealt(self.corpus)[1]

    def settings(self, member: str, url: str) -> dict[str, str]:
        """Return the environment of the pool or a sidecar."""
        own, registry = self.directory / member, (self.directory / "registry").as_uri()
        settings = {
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(own / "models"),
            "VMAFX_BASE_MODEL_PATH": str(self.base_model),
            "VMAFX_SIDECAR_N_FEATURES": str(self.corpus.features.shape[1]),
            "VMAFX_SIDECAR_CKPT_INTERVAL_S": f"{self.seconds / CHECKPOINTS:.3f}",
            "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "1",
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
            "VMAFX_FLEET_URL": url,
            "VMAFX_FLEET_QUOTA": str(_QUOTA),
        }
        if member == POOL:
            return settings | {"VMAFX_REGISTRY_URL": registry, "VMAFX_POOL": self.name}
        return settings | {
            "VMAFX_SIDECAR_SOCKET": str(self.directory / f"{member}.sock"),
            "VMAFX_FLEET_NODE": member,
            "VMAFX_FLEET_REGISTRY_URL": registry,
        }


POOL = "pool"


def node_name(number: int) -> str:
    """Return what a sidecar is called in the fleet."""
    return f"sidecar-{number + 1}"


class Member:
    """The pool or a sidecar while the demo runs: what it reports, and the models it has published, judged."""

    def __init__(self, name: str, settings: Settings, base_model: Path, board: Board, judge: Judge) -> None:
        self.name, self.board = name, board
        self._settings, self._directory, self._judge = settings, settings.checkpoint_dir, judge
        self._seen = 0
        self._stable, self._origin = 0, ""
        self.figures = judge.figures(OnnxModel(base_model))
        self.learned: list[Learned] = []

    def look(self) -> str:
        """Judge a newer stable model; return what is to be said of it, empty for nothing."""
        said = ""
        for version in published(self._directory):
            if version <= self._seen:
                continue
            self._seen = version
            known = checkpoint.read(self._directory, version)
            if known.state != "stable":
                continue
            before = self.figures["rmse"]
            self.figures = self._judge.figures(OnnxModel(file_of(self._directory, version)))
            self._stable, self._origin = version, known.origin
            self.learned.append(Learned(known.samples, self.figures))
            whose = "the pool's model" if known.origin else "its own model"
            said = f"{self.name} published {whose}: RMSE on unseen sources {before:.2f} -> {self.figures['rmse']:.2f}"
        return said

    @property
    def is_judging(self) -> bool:
        """Whether a model of the pool's waits to be judged here."""
        return offer.is_there(self._settings.state_dir, Slot.FLEET)

    def line(self) -> Line:
        """Return what the display shows."""
        model = f"version {self._stable}" if self._stable else "base model"
        return Line(
            self.name,
            self.board.ingest().accepted,
            self.board.uplink().sent,
            self.board.trainer().step,
            model + (" (the pool's)" if self._origin else ""),
            self.figures["rmse"],
        )


@dataclass(frozen=True)
class Played:
    """What came of it, by member: the models that became stable, judged, in order."""

    pool: list[Learned]
    sidecars: list[list[Learned]]


def play(demo: FleetDemo, judge: Judge, display: FleetDisplay, stop: Stop) -> Played:
    """Play the demo to its end and stop everything.

    Raises `DemoFailedError`, `ServerFailedError`, and `SidecarEndedError` where a sidecar or the pool did not hold out.
    """
    program = nats_server()
    if program is None:
        raise DemoFailedError(MISSING)
    (demo.directory / "registry").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(NatsServer(program, demo.directory / "stream", demo.logs / "nats.log"))
        server.wait(stop)
        settings = {name: demo.settings(name, server.url) for name in (POOL, *map(node_name, range(len(demo.nodes))))}
        sidecars = {name: _started(stack, demo, name, settings[name]) for name in settings}
        members = {}
        for name, sidecar in sidecars.items():
            own = config.load(settings[name])
            board = wait_until_listening(sidecar, own.instance_name, stop, _START_S)
            members[name] = Member(name, own, demo.base_model, board, judge)
        streams = stack.enter_context(_streaming(demo, settings))
        _Watch(demo, display, members, sidecars, stop).follow(streams)
        return Played(members[POOL].learned, [each.learned for name, each in members.items() if name != POOL])


def _started(stack: ExitStack, demo: FleetDemo, name: str, settings: Mapping[str, str]) -> Sidecar:
    (demo.directory / name / "models").mkdir(parents=True)
    arguments = ("pool", "run") if name == POOL else ("run",)
    return stack.enter_context(Sidecar(settings, demo.logs / f"{name}.log", arguments))


@contextmanager
def _streaming(demo: FleetDemo, settings: Mapping[str, Mapping[str, str]]) -> Iterator[list[Future[None]]]:
    """Stream to all sidecars side by side; each future is done when all of a node's rows are answered."""
    end = threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(len(demo.nodes)) as threads:
        try:
            futures = []
            for number, rows in enumerate(demo.nodes):
                own = config.load(dict(settings[node_name(number)]))
                options = NodeOptions(own.socket, own.checkpoint_dir, demo.base_model)
                node = stack.enter_context(FakeNode(rows, demo.target, options))
                futures.append(threads.submit(_stream, node, len(rows) / demo.seconds, end))
            yield futures
        finally:
            end.set()


def _stream(node: FakeNode, rate: float, end: threading.Event) -> None:
    node.stream(end, rate=rate)
    node.drain(end)


class _Watch:
    """Follows one run until all samples have been learned from, by the pool too, and its last model was offered."""

    def __init__(
        self,
        demo: FleetDemo,
        display: FleetDisplay,
        members: Mapping[str, Member],
        sidecars: Mapping[str, Sidecar],
        stop: Stop,
    ) -> None:
        self._demo, self._display, self._members, self._sidecars = demo, display, members, sidecars
        self._stop = stop
        self._start = time.monotonic()

    def follow(self, streams: list[Future[None]]) -> None:
        give_up = None
        while not (all(stream.done() for stream in streams) and self._is_settled()):
            for sidecar in self._sidecars.values():
                sidecar.check()
            for stream in streams:
                if stream.done():
                    stream.result()
            self._look()
            if give_up is None and all(stream.done() for stream in streams):
                give_up = time.monotonic() + 2 * self._demo.seconds / CHECKPOINTS + _SETTLE_S
                self._display.say("all samples are sent; the pool and the sidecars publish once more")
            if give_up is not None and time.monotonic() > give_up:
                raise DemoFailedError(f"the pool is not done {_SETTLE_S:.0f} s after the last sample")
            pause(self._stop)
        self._look()

    def _look(self) -> None:
        for member in self._members.values():
            if said := member.look():
                self._display.say(f"{self._elapsed:3.0f} s  {said}")
        lines = [member.line() for member in self._members.values()]
        self._display.show(self._elapsed, self._demo.seconds, lines)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _is_settled(self) -> bool:
        """Whether every sample was judged with by each, and the pool's last model was before each sidecar's gate."""
        boards = {name: member.board for name, member in self._members.items()}
        pool = boards.pop(POOL)
        sent = [board.uplink().sent for board in boards.values()]
        rows = [len(rows) for rows in self._demo.nodes]
        told, everybody = pool.publisher(), (pool, *boards.values())
        return (
            sent == rows
            and pool.ingest().accepted == sum(rows)
            and all(board.exporter().samples_at_checkpoint == board.ingest().accepted for board in everybody)
            and not told.waiting_since
            and all(board.uplink().offered == told.announced for board in boards.values())
            and not any(member.is_judging for member in self._members.values())
        )
