"""The demo itself: what it plays, and how: a sidecar, a fake node that streams to it, and who watches both."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import config
from pipeline.demo.display import Display, Moment
from pipeline.demo.judge import Judge
from pipeline.demo.sidecar import Sidecar
from pipeline.model.runtime import OnnxModel
from pipeline.node.fake_node import FakeNode, NodeOptions
from pipeline.runtime import regions
from pipeline.shm.segment import SegmentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from pipeline.corpus.table import Corpus
    from pipeline.node.schedule import Stop
    from pipeline.runtime.reports import Board

CHECKPOINTS = 5
"""How many the stream has time for."""

WANTED_SWAPS = 2
START_S = 60.0
TICK_S = 0.5


@dataclass(frozen=True)
class Demo:
    """What to play, for how many seconds, at how many frames a second.

    corpus has a part to stream and a part to judge; directory is empty, for the socket and the checkpoints; log is the
    file for what the sidecar says.
    """

    corpus: Corpus
    target: str
    base_model: Path
    seconds: float
    rate: float
    directory: Path
    log: Path

    @property
    def checkpoint_dir(self) -> Path:
        """Where the sidecar publishes."""
        return self.directory / "models"

    def settings(self) -> dict[str, str]:
        """Return the sidecar's environment."""
        interval = self.seconds / (CHECKPOINTS + 1)
        return {
            "VMAFX_SIDECAR_SOCKET": str(self.directory / "sidecar.sock"),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoint_dir),
            "VMAFX_BASE_MODEL_PATH": str(self.base_model),
            "VMAFX_SIDECAR_N_FEATURES": str(self.corpus.features.shape[1]),
            "VMAFX_SIDECAR_CKPT_INTERVAL_S": f"{interval:.3f}",
            "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": f"{interval * self.rate / 2:.0f}",
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
        }


class DemoFailedError(Exception):
    """The demo does not show what it is to show; the message says why."""


def play(demo: Demo, judge: Judge, display: Display, stop: Stop) -> float:
    """Play the demo to its end and stop everything; return when the stream began, in Unix seconds.

    Raises `DemoFailedError`, and `SidecarEndedError` where the sidecar did not hold out.
    """
    demo.checkpoint_dir.mkdir()
    settings = config.load(demo.settings())
    options = NodeOptions(settings.socket, settings.checkpoint_dir, demo.base_model)
    with Sidecar(demo.settings(), demo.log) as sidecar:
        board = wait_until_listening(sidecar, settings.instance_name, stop)
        with FakeNode(demo.corpus.only("stream"), demo.target, options) as node:
            began = time.time()
            with _streaming(node, demo.rate) as stream:
                _Watch(demo, judge, display, node, board).follow(sidecar, stream, stop)
    return began


def wait_until_listening(sidecar: Sidecar, instance: str, stop: Stop, within_s: float = START_S) -> Board:
    """Return the reports of a sidecar or pool that has begun to take samples. Raises DemoFailedError."""
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        sidecar.check()
        try:
            board = regions.attach_board(instance)
            if board.ingest().phase == "accepting":
                return board
        except SegmentError:
            pass  # not made yet
        pause(stop)
    raise DemoFailedError(f"the sidecar does not listen after {within_s:.0f} s")


def pause(stop: Stop) -> None:
    """Wait for a moment. Raises DemoFailedError where told to stop."""
    if stop.wait(TICK_S):
        raise DemoFailedError("stopped before the end")


@contextmanager
def _streaming(node: FakeNode, rate: float) -> Iterator[Future[None]]:
    end = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        try:
            yield thread.submit(node.stream, end, rate=rate, loop=True)
        finally:
            end.set()


class _Watch:
    """Follows one run until its time is over and the node has changed its model often enough."""

    def __init__(self, demo: Demo, judge: Judge, display: Display, node: FakeNode, board: Board) -> None:
        self._demo, self._judge, self._display, self._node, self._board = demo, judge, display, node, board
        self._base = judge.figures(OnnxModel(demo.base_model))
        self._model = node.watcher.model
        self._live = self._base
        self._start = time.monotonic()

    def follow(self, sidecar: Sidecar, stream: Future[None], stop: Stop) -> None:
        while not self._is_over():
            sidecar.check()
            if stream.done():
                stream.result()
            self._judge_the_model_in_use()
            self._display.show(self._moment())
            pause(stop)

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _is_over(self) -> bool:
        swaps = self._node.counts().swaps
        if self._elapsed() > 2 * self._demo.seconds and swaps < WANTED_SWAPS:
            raise DemoFailedError(self._too_few(swaps))
        return self._elapsed() >= self._demo.seconds and swaps >= WANTED_SWAPS

    def _too_few(self, swaps: int) -> str:
        report = self._board.exporter()
        last = f"{report.version} were published, the last is {report.latest_state}" if report.version else "none came"
        return f"the node took {swaps} checkpoints in {self._elapsed():.0f} s, not {WANTED_SWAPS}: {last}"

    def _judge_the_model_in_use(self) -> None:
        model = self._node.watcher.model
        if model is self._model:
            return
        before, self._model, self._live = self._live, model, self._judge.figures(model)
        self._display.say(
            f"{self._elapsed():3.0f} s  the node swapped to {model.name}: "
            f"RMSE on unseen sources {before['rmse']:.2f} -> {self._live['rmse']:.2f}"
        )

    def _moment(self) -> Moment:
        return Moment(
            elapsed=self._elapsed(),
            total=self._demo.seconds,
            samples=self._board.ingest().accepted,
            step=self._board.trainer().step,
            checkpoints=self._board.exporter().version,
            model="the base model" if self._live is self._base else self._model.name,
            live_rmse=self._live["rmse"],
            base_rmse=self._base["rmse"],
        )
