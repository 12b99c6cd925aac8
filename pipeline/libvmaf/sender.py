"""Sends the samples of logs to a sidecar, each once."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.libvmaf.block import LogError
from pipeline.libvmaf.naming import Detail, Naming
from pipeline.libvmaf.pool import CLIP, FRAME
from pipeline.libvmaf.samples import LogSamples, Samples, Wanted
from pipeline.node.feedback import FeedbackClient

WINDOW = 1024
CAPACITY = 4096
_FULL_S = 0.01
_UNWANTED = 1000
"""Samples after which, where not one was accepted, the sidecar is believed that it does not want them."""


class Stop(Protocol):
    """Something to wait on that tells when to stop, such as `StopFlag`."""

    def wait(self, seconds: float, /) -> bool:
        """Wait up to `seconds`; tell whether to stop."""
        ...


class Stopped(Exception):
    """Told to stop before the end."""


class Refused(Exception):
    """The sidecar accepts none of the samples; the message says why not."""


@dataclass
class Counts:
    """What was read."""

    logs: int = 0
    samples: int = 0
    complaints: int = 0


def silence(path: Path) -> str:
    """Return why nobody answers at a socket; empty where somebody listens."""
    with socket.socket(socket.AF_UNIX) as dialled:
        try:
            dialled.connect(str(path))
        except OSError as error:
            return error.strerror or str(error)
    return ""


class Sender:
    """A client of a sidecar, at most `rate` samples a second.

    What is wrong with a log goes to `tell`, in one line. A sample that the sidecar has not answered is sent again on
    the next connection; its job, with its number, is how the sidecar knows that it has it already.
    """

    def __init__(
        self,
        address: Path,
        wanted: Wanted,
        naming: Naming,
        stop: Stop,
        tell: Callable[[str], None],
        rate: float = 0.0,
        on_checkpoint: Callable[[str], None] = lambda _path: None,
    ) -> None:
        self.client = FeedbackClient(address, window=WINDOW, capacity=CAPACITY, on_checkpoint=on_checkpoint)
        self.counts = Counts()
        self._wanted = wanted
        self._naming = naming
        self._stop = stop
        self._tell = tell
        self._every = 1 / rate if rate else 0.0
        self._due = time.monotonic()

    def open(self, path: Path, skip: int = 0) -> Shipment | None:
        """Begin with a log, of which the first `skip` samples were sent before; None where its name does not fit."""
        try:
            details = self._naming.of(path)
        except LogError as error:
            self.complain(f"{path}: {error}")
            return None
        self.counts.logs += 1
        return Shipment(self, LogSamples(path, self._wanted, details), details, skip)

    def complain(self, line: str) -> None:
        """Tell of something wrong, and count it."""
        self.counts.complaints += 1
        self._tell(line)

    def send(self, samples: Samples, details: Mapping[str, Detail]) -> None:
        """Queue samples, waiting where the queue is full; Stopped, or Refused, where there is no point in going on."""
        assert samples.scores is not None
        rest: dict[str, Any] = {name: value for name, value in details.items() if name != "job_id"}
        for job, features, score in zip(
            self._jobs(str(details["job_id"]), samples), samples.features.tolist(), samples.scores.tolist(), strict=True
        ):
            self._wait_for_turn()
            self.client.send(features, score, job_id=job, vmaf_model=self._wanted.score, **rest)
            self.counts.samples += 1

    def drain(self) -> None:
        """Wait until every sample is answered, for as long as that takes; Stopped, Refused."""
        while self.client.pending():
            self._pause(_FULL_S)

    def all_accepted(self) -> bool:
        """Tell whether every sample was accepted; to be asked once the client is closed."""
        return self.client.delivered() == self.counts.samples

    def summary(self) -> str:
        """Return the counts in a line; to be asked once the client is closed."""
        client, reason = self.client, self.client.rejection()
        refused = f"{client.rejected():,} refused" + (f" ({reason})" if reason else "")
        return (
            f"logs: {self.counts.logs:,}; samples: {self.counts.samples:,}, {client.delivered():,} accepted, "
            f"{refused}, {client.dropped():,} not answered"
        )

    def _jobs(self, job: str, samples: Samples) -> Iterable[str]:
        if self._wanted.pool == CLIP:
            return [job] * len(samples)
        letter = "" if self._wanted.pool == FRAME else "s"
        return [f"{job}/{number}{letter}" for number in samples.numbers.tolist()]

    def _wait_for_turn(self) -> None:
        if self._every:
            self._due = max(self._due + self._every, time.monotonic() - 1)
            self._pause(max(0.0, self._due - time.monotonic()))
        while not self.client.room():
            self._pause(_FULL_S)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped
        if self.client.rejected() >= _UNWANTED and not self.client.delivered():
            raise Refused(f"the sidecar accepts none of the samples: {self.client.rejection()}")


class Shipment:
    """One log on its way: `advance` sends what it holds, `conclude` what is left when it does not grow any more."""

    def __init__(self, sender: Sender, samples: LogSamples, details: Mapping[str, Detail], skip: int) -> None:
        self._sender = sender
        self._samples = samples
        self._details = details
        self._skip = skip
        self._broken = False
        self.sent = 0
        """Samples of this log, those that were skipped among them."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be expected of the log."""
        return self._broken or self._samples.ended

    def advance(self) -> None:
        """Send the samples that have come."""
        self._send_all(self._samples.read())

    def conclude(self) -> None:
        """Send what is left, and tell what was wrong."""
        self._send_all(self._samples.close())
        for line in self._samples.complaints():
            self._sender.complain(line)

    def _send_all(self, parts: Iterable[Samples]) -> None:
        if self._broken:
            return
        try:
            for part in parts:
                self._send(part)
        except (LogError, OSError) as error:
            self._broken = True
            reason = error.strerror if isinstance(error, OSError) else error
            after = f"; the {self._samples.frames} frames before it are used" if self._samples.frames else "; left out"
            self._sender.complain(f"{self._samples.path}: {reason}{after}")

    def _send(self, part: Samples) -> None:
        new = part.after(max(0, self._skip - self.sent))
        self.sent += len(part)
        if len(new):
            self._sender.send(new, self._details)
