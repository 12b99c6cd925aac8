"""A real sidecar, started as an operator starts it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "pipeline"]
START_S = 60.0
PUBLISHING = {
    "VMAFX_SIDECAR_N_FEATURES": "6",
    "VMAFX_SIDECAR_CKPT_INTERVAL_S": "1",
    "VMAFX_SIDECAR_MIN_SAMPLES_CKPT": "50",
}
"""Settings for six features and a checkpoint every second."""


class Sidecar:
    """A running `vmafx-sidecar run`."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.socket = directory / "s.sock"
        self.checkpoints = directory / "models"
        self.checkpoints.mkdir()
        self.log = directory / "log"
        self._terminated = False
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")}
        self._environment |= {
            "VMAFX_SIDECAR_SOCKET": str(self.socket),
            "VMAFX_SIDECAR_CHECKPOINT_DIR": str(self.checkpoints),
            "VMAFX_SIDECAR_HTTP": "127.0.0.1:0",
            **settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run"], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until_served(self) -> None:
        """Wait until a client is not only let in, but answered."""
        give_up = time.monotonic() + START_S
        while time.monotonic() < give_up and self.process.poll() is None:
            with suppress(json.JSONDecodeError):
                if self.status()["ingest"]["phase"] == "accepting":
                    return
        pytest.fail(f"the sidecar serves nobody:\n{self.log.read_text()}")

    def status(self) -> dict[str, Any]:
        """Return what `vmafx-sidecar status --json` says."""
        command = [*COMMAND, "status", "--json", "--socket", str(self.socket)]
        output = subprocess.run(command, capture_output=True, env=self._environment, check=False).stdout
        found: dict[str, Any] = json.loads(output)
        return found

    def samples(self) -> int:
        """Return how many samples are in, from a report that is younger than this call."""
        asked = time.monotonic()
        while time.monotonic() < asked + START_S:
            report = self.status()["ingest"]
            if report["heartbeat"] > asked:
                return int(report["accepted"])
        pytest.fail(f"ingest does not report:\n{self.log.read_text()}")

    def terminate(self) -> None:
        """Send SIGTERM, once."""
        if not self._terminated:
            self._terminated = True
            self.process.terminate()

    def stop(self) -> int:
        """Stop it as a container runtime does; return its exit code."""
        self.terminate()
        code = self.process.wait(timeout=60)
        subprocess.run([*COMMAND, "clean", "--socket", str(self.socket)], env=self._environment, check=False)
        return code


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Sidecar]:
    """Run a sidecar for a while; it has to stop with exit code 0."""
    sidecar = Sidecar(directory, **settings)
    try:
        sidecar.wait_until_served()
        yield sidecar
    finally:
        code = sidecar.stop()
    assert code == 0, sidecar.log.read_text()
