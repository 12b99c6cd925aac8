"""Driving Docker and Compose, of either generation, by their commands."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.charts import DEPLOY
from tests.support.waiting import eventually

OVERLAY = Path(__file__).with_name("overlay.yaml")
CONFINED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--network", "none")


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run docker and return what came of it."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S607


class Container:
    """A container by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return docker("exec", self.name, *command)

    def inspect(self) -> dict[str, Any]:
        """Return what Docker knows of it."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", self.name).stdout)
        return found[0]

    def logs(self) -> str:
        """Return what it has written so far."""
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events called `name`, oldest first."""
        lines = (line for line in self.logs().splitlines() if line.startswith("{"))
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def status(self) -> dict[str, Any]:
        """Return what `vmafx-sidecar status --json` says inside; nothing where it does not run."""
        output = self.run("vmafx-sidecar", "status", "--json").stdout
        found: dict[str, Any] = json.loads(output) if output.startswith("{") else {}
        return found

    def role(self, name: str) -> dict[str, Any]:
        """Return the health of one process; nothing where there is none."""
        found: dict[str, Any] = self.status().get("roles", {}).get(name, {})
        return found

    def accepted(self) -> int:
        """Return how many samples have been accepted."""
        return int(self.status().get("ingest", {}).get("accepted", 0))

    def goes_on_from(self, accepted: int) -> bool:
        """Wait until the node's samples are answered again."""
        return eventually(lambda: self.accepted() > accepted + 50, explain=self.logs)

    def is_healthy(self) -> bool:
        """Tell whether Docker's health check passes."""
        return bool(self.inspect()["State"].get("Health", {}).get("Status") == "healthy")

    def crash(self) -> None:
        """Kill its first process from outside: a fault to its restart policy, as `docker kill` is not."""
        try:
            os.kill(self.inspect()["State"]["Pid"], signal.SIGKILL)
        except (PermissionError, ProcessLookupError):
            pytest.skip("the containers' processes are out of this user's reach")

    def wait(self) -> int:
        """Wait until it has ended; return its exit code."""
        return int(docker("wait", self.name).stdout)


def start(image: str, *options: str, command: tuple[str, ...] = ()) -> Container:
    """Start a confined container of the image."""
    done = docker("run", "--detach", *CONFINED, *options, image, *command)
    assert done.returncode == 0, done.stderr
    return Container(done.stdout.strip())


def on_one_loopback(*names: str) -> dict[str, Any]:
    """Return compose.yaml with all services in one network namespace: a loopback, by these names too, and no more.

    Skips where the image of one of `names` is not here and cannot be pulled.
    """
    whole: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = whole["services"]
    for name in names:
        image = services[name]["image"]
        if docker("image", "inspect", image).returncode != 0 and docker("pull", image).returncode != 0:
            pytest.skip(f"the image {image} is not here and cannot be pulled")
    for service in services.values():
        service.pop("ports", None)
        service["network_mode"] = "service:sidecar"
    services["sidecar"] |= {"network_mode": "none", "extra_hosts": [f"{name}:127.0.0.1" for name in names]}
    return whole


class Stack:
    """compose.yaml, as it is shipped, without a network of its own; or other `files`, with a `profile`."""

    def __init__(
        self,
        image: str,
        files: tuple[Path, ...] = (DEPLOY / "compose.yaml", OVERLAY),
        profile: str = "",
        **variables: str,
    ) -> None:
        given = [word for file in files for word in ("--file", str(file))]
        self._options = [*given, "--project-directory", str(DEPLOY), *(["--profile", profile] if profile else [])]
        self._project = f"vmafx-test-{os.getpid()}"
        self._environment = os.environ | {"VMAFX_SIDECAR_IMAGE": image} | variables

    def compose(self, *arguments: str) -> None:
        """Run Compose; it has to succeed."""
        command = [*_compose(), "--project-name", self._project, *self._options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=False)
        assert done.returncode == 0, done.stderr

    def container(self, service: str) -> Container:
        """Return the container of a service."""
        project, label = f"com.docker.compose.project={self._project}", f"com.docker.compose.service={service}"
        found = docker("ps", "--all", "--quiet", "--filter", f"label={project}", "--filter", f"label={label}")
        (name,) = found.stdout.split()
        return Container(name)

    @property
    def sidecar(self) -> Container:
        """The sidecar."""
        return self.container("sidecar")

    @property
    def node(self) -> Container:
        """The fake node."""
        return self.container("fake-node")


def _compose() -> list[str]:
    if docker("compose", "version").returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("Docker Compose is not installed")
