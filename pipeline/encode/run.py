"""Puts the loop together: watcher, sender and, where it is asked for, a sidecar of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.corpus.pairs import Limits, Pair
from pipeline.corpus.table import CorpusError
from pipeline.demo.sidecar import Sidecar
from pipeline.encode.loop import Loop
from pipeline.encode.measure import Encodes
from pipeline.encode.table import Table
from pipeline.libvmaf.naming import Naming
from pipeline.libvmaf.options import features_taken
from pipeline.libvmaf.samples import Wanted
from pipeline.libvmaf.sender import Sender, Stopped, silence
from pipeline.node.watcher import CheckpointWatcher
from pipeline.runtime.lifecycle import StopFlag

_POLL_S = 5.0
_CHECKPOINT_S = 8
_MIN_SAMPLES = 300
_DRAIN_S = 5.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class Setup:
    """Where everything is; `scratch` is an empty directory, `logs` is where libvmaf's logs stay."""

    target: str
    limits: Limits
    base_model: Path
    socket: Path
    checkpoint_dir: Path
    scratch: Path
    logs: Path

    def alone(self) -> Setup:
        """Return the same with a socket and checkpoints of its own."""
        return replace(self, socket=self.scratch / "sidecar.sock", checkpoint_dir=self.scratch / "models")

    def environment(self, n_features: int) -> dict[str, str]:
        """Return the settings of a sidecar for this alone, which publishes every few seconds."""
        return {
            "VMAFX_SIDECAR_SOCKET": str(self.socket),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoint_dir),
            "VMAFX_BASE_MODEL_PATH": str(self.base_model),
            "VMAFX_SIDECAR_N_FEATURES": str(n_features),
            "VMAFX_SIDECAR_CKPT_INTERVAL_S": str(_CHECKPOINT_S),
            "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": str(_MIN_SAMPLES),
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
        }


def play(
    setup: Setup, pairs: Sequence[Pair], *, own_sidecar: bool, seconds: float | None, stop: StopFlag, table: Table,
    tell: Callable[[str], None],
) -> Sender:  # fmt: skip
    """Run the loop over the pairs, for so many seconds at most; return the sender, closed, with its counts.

    CorpusError, LogError, UnusableModel, Refused; SidecarEndedError where the own sidecar does not hold out.
    """
    wanted = Wanted(features_taken(setup.base_model, None), setup.target)
    with ExitStack() as stack:
        sidecar = None
        if own_sidecar:
            setup = setup.alone()
            setup.checkpoint_dir.mkdir()
            log = setup.logs / "sidecar.log"
            sidecar = stack.enter_context(Sidecar(setup.environment(len(wanted.features)), log))
        watcher = CheckpointWatcher(setup.checkpoint_dir, setup.base_model, poll_s=_POLL_S)
        stack.callback(watcher.close)
        sender = Sender(setup.socket, wanted, Naming(), stop, tell, on_checkpoint=watcher.hint)
        stack.callback(sender.client.close, drain_timeout=_DRAIN_S)
        encodes = Encodes(setup.limits, setup.target, setup.scratch, setup.logs)
        loop = Loop(encodes, wanted, watcher, setup.base_model, sender)
        try:
            if sidecar is not None:
                _wait_until_it_listens(sidecar, setup.socket, stop)
            loop.run(_until(pairs, seconds, stop, sidecar), table.predicted, table.measured)
            sender.drain()
        except (CorpusError, Stopped):
            if not stop.is_set:
                raise
    return sender


def _wait_until_it_listens(sidecar: Sidecar, address: Path, stop: StopFlag) -> None:
    while silence(address):
        sidecar.check()
        if stop.wait(_LOOK_S):
            raise Stopped


def _until(pairs: Sequence[Pair], seconds: float | None, stop: StopFlag, sidecar: Sidecar | None) -> Iterator[Pair]:
    began = time.monotonic()
    for pair in pairs:
        if stop.is_set or (seconds is not None and time.monotonic() - began > seconds):
            return
        if sidecar is not None:
            sidecar.check()
        yield pair
