"""Real registries, each a process of this test's own: Debian's docker-registry, and moto's S3."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.published import version_of
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import manifest_of, pull
from tests.support.waiting import PATIENCE_S, eventually

REGISTRY = shutil.which("docker-registry")
BUCKET = "models"
USER, PASSWORD = "publisher", "not-to-be-shown"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuucOdD6Fiko3lt1K1YFL6ENInxRrp9pdC\n"  # bcrypt of PASSWORD


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """A server on a port of its own, which may be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of a place for models in it."""

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find it."""
        return {}

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs it."""

    def options(self) -> dict[str, str]:
        """Return what its environment has besides."""
        return {}

    def path(self) -> str:
        """Return a path that it answers."""
        return "/"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.directory / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=os.environ | self.options())
        eventually(self._answers, explain=lambda: (self.directory / "server.log").read_text())

    def kill(self) -> None:
        """Kill it as a power cut does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def suspend(self) -> None:
        """Have it answer nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.path()}", timeout=PATIENCE_S).close()
        except urllib.error.HTTPError as error:
            error.close()
        return True


class DockerRegistry(Server):
    """An OCI registry; `read_only`, `locked` (with a password) or of little `room`, where that is asked for.

    `data` is where its content lies: in `directory`, unless it is set.
    """

    def __init__(self, directory: Path, *, read_only: bool = False, locked: bool = False, room: int = 0) -> None:
        if REGISTRY is None:
            pytest.skip("docker-registry is not installed (Debian's package of that name)")
        super().__init__(directory)
        self.read_only, self.locked, self.room = read_only, locked, room
        self.data = directory / "data"
        (directory / "htpasswd").write_text(_HTPASSWD)

    @property
    def url(self) -> str:
        """The URL of a repository."""
        return f"oci://127.0.0.1:{self.port}/vmaf/models"

    def path(self) -> str:
        """Return the path of its API."""
        return "/v2/"

    def command(self) -> list[str]:
        """Return the command, with its configuration written."""
        settings = {
            "version": "0.1",
            "log": {"level": "error"},
            "http": {"addr": f"127.0.0.1:{self.port}"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.data)},
                "maintenance": {"readonly": {"enabled": self.read_only}},
            },
        }
        if self.locked:
            settings["auth"] = {"htpasswd": {"realm": "models", "path": str(self.directory / "htpasswd")}}
        configuration = self.directory / "registry.yml"
        configuration.write_text(json.dumps(settings))  # JSON is YAML
        assert REGISTRY is not None
        serve = [REGISTRY, "serve", str(configuration)]
        return ["sh", "-c", f'ulimit -f {self.room} && exec "$@"', "sh", *serve] if self.room else serve


class S3(Server):
    """An S3 with one bucket, which it loses when it is killed.

    Its objects are in memory; where `data` is set, they are files in that directory.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.data: Path | None = None

    @property
    def url(self) -> str:
        """The URL of a prefix."""
        return f"s3://{BUCKET}/vmaf"

    @property
    def environment(self) -> dict[str, str]:
        """What obstore needs to find it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
        }

    def command(self) -> list[str]:
        """Return the command."""
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def options(self) -> dict[str, str]:
        """Return what has moto keep objects in files, which it makes as temporary ones."""
        return {} if self.data is None else {"TMPDIR": str(self.data), "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": "1"}

    def start(self) -> None:
        """Start it with an empty bucket."""
        super().start()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310  # of our own


def newest_in(url: str) -> int:
    """Return the version that `latest-stable` leads to, whole and verified; 0 for none, or while nobody answers."""
    try:
        store = open_store(Reference.parse(url))
        pointer = store.pointer(LATEST_STABLE)
        if pointer is None or not (version := version_of(manifest_of(store, pointer.digest))):
            return 0
        pull(store, pointer.digest).check()
    except RegistryFault:
        return 0
    return version


def make_keys(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a private and a public key, as the page on registries says."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run([openssl, "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def docker_config(directory: Path, port: int, password: str = PASSWORD) -> dict[str, str]:
    """Write credentials as Docker does; return the environment in which they are found."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (directory / ".docker").mkdir(exist_ok=True)
    (directory / ".docker" / "config.json").write_text(json.dumps({"auths": {f"127.0.0.1:{port}": {"auth": auth}}}))
    return {"HOME": str(directory)}


@contextmanager
def set_in(environment: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
