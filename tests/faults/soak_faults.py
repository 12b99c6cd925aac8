"""The soak's faults: each does one thing to a running sidecar and leaves it to recover."""

from __future__ import annotations

import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from tests.support.sidecar import Sidecar

Fault = Callable[[Sidecar, Random], None]


def _signal(role: str, number: int) -> Fault:
    def fault(sidecar: Sidecar, _rng: Random) -> None:
        sidecar.signal(role, number)

    return fault


def _halt(role: str) -> Fault:
    def fault(sidecar: Sidecar, rng: Random) -> None:
        sidecar.signal(role, signal.SIGSTOP)
        time.sleep(rng.uniform(0.2, 1.5))
        sidecar.signal(role, signal.SIGCONT)

    return fault


def _limit(role: str, kind: int, value: int) -> Fault:
    def fault(sidecar: Sidecar, rng: Random) -> None:
        pid = sidecar.pid(role)
        before = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (value, before[1]))
        time.sleep(rng.uniform(2, 4))
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)

    return fault


def _gone(directory: Callable[[Sidecar], Path]) -> Fault:
    """Take a directory away for a while and put it back, as a volume that is remounted."""

    def fault(sidecar: Sidecar, rng: Random) -> None:
        path = directory(sidecar)
        aside = path.with_name("aside")
        path.rename(aside)
        path.write_text("not a directory")
        time.sleep(rng.uniform(1, 3))
        path.unlink()
        aside.rename(path)

    return fault


def archive_of(sidecar: Sidecar) -> Path:
    """Return the directory of a sidecar's archive."""
    return Path(sidecar.environment["VMAFX_SIDECAR_ARCHIVE_DIR"])


def _container_killed(sidecar: Sidecar, _rng: Random) -> None:
    sidecar.kill_all()
    sidecar.start()


def _container_stopped(sidecar: Sidecar, _rng: Random) -> None:
    assert sidecar.stop() == 0, "a stop ended with an error"
    sidecar.start()


def _crowd(sidecar: Sidecar, _rng: Random) -> None:
    """Open and drop a thousand connections, some in the middle of a line or with an answer unread."""
    for i in range(1000):
        with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
            one.settimeout(1)
            one.connect(str(sidecar.socket))
            one.send((b"", b'{"job_id": "half', b"nonsense\n")[i % 3])


def _endless_line(sidecar: Sidecar, _rng: Random) -> None:
    """Send fifty megabytes without a newline."""
    with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
        one.settimeout(5)
        one.connect(str(sidecar.socket))
        for _ in range(50):
            one.sendall(b"x" * (1 << 20))


def _deaf_flood(sidecar: Sidecar, _rng: Random) -> None:
    """Send for two seconds whatever is taken, and never read an answer."""
    until = time.monotonic() + 2
    with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
        one.settimeout(1)
        one.connect(str(sidecar.socket))
        while time.monotonic() < until:
            one.sendall(b"x\n" * 10_000)


ROLES = ("ingest", "trainer", "exporter", "archive")
FAULTS: dict[str, Fault] = {
    **{f"SIGKILL {role}": _signal(role, signal.SIGKILL) for role in (*ROLES, "monitor")},
    **{f"SIGTERM {role}": _signal(role, signal.SIGTERM) for role in ROLES},
    **{f"SIGSTOP and SIGCONT {role}": _halt(role) for role in ROLES},
    "trainer hangs": _signal("trainer", signal.SIGSTOP),
    "disk full": _limit("exporter", resource.RLIMIT_FSIZE, 200),
    "archive's disk full": _limit("archive", resource.RLIMIT_FSIZE, 200),
    "ingest out of descriptors": _limit("ingest", resource.RLIMIT_NOFILE, 8),
    "checkpoint directory gone and back": _gone(lambda sidecar: sidecar.checkpoints),
    "archive directory gone and back": _gone(archive_of),
    "whole sidecar SIGKILL, memory kept": _container_killed,
    "whole sidecar stopped and started": _container_stopped,
    "a thousand connections dropped": _crowd,
    "50 MB without a newline": _endless_line,
    "flood that reads no answer": _deaf_flood,
}
"""By name; those that name ingest or the whole sidecar keep answers waiting by their nature."""


def stops_answers(name: str) -> bool:
    """Whether a fault halts ingest itself."""
    return "ingest" in name or "whole" in name
