"""A fleet as `vmafx-sidecar fleet config` makes it, with a real server."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from click.testing import CliRunner, Result
from nats.aio.client import Client

from pipeline import config
from pipeline.cli import cli
from pipeline.config import Settings
from pipeline.fleet.link import Link
from tests.support.nats import NatsServer, free_port
from tests.support.waiting import PATIENCE_S, eventually

T = TypeVar("T")
Job = Callable[[Client], Awaitable[T]]


def configure(directory: Path, *options: str) -> Result:
    """Give the command; what it says is in `output`."""
    return CliRunner().invoke(cli, ["fleet", "config", str(directory), *options])


class Fleet:
    """Its directory, and its server, which runs. Tenant A has the nodes n1 and n2, tenant B the node n1."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        done = configure(
            directory, "--host=127.0.0.1", f"--port={port}", "--http=off", "--tenant=A", "--node=n1", "--node=n2",
            "--node=B/n1", "--bytes=16777216",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        self.directory = directory
        self.server = NatsServer(directory / "server", scheme="tls", port=port)

    def variables(self, tenant: str = "A", node: str = "") -> dict[str, str]:
        """Return what a node is told, or the tenant's pool where no node is named."""
        place = self.directory / ("nodes" if node else "pools") / tenant
        return {
            "VMAFX_FLEET_URL": self.server.url,
            "VMAFX_FLEET_TENANT": tenant,
            "VMAFX_FLEET_BYTES": "16777216",
            "VMAFX_FLEET_KEY": str(place / (f"{node}.nk" if node else "pool.nk")),
            "VMAFX_FLEET_CA": str(place / "ca.pem"),
        } | ({"VMAFX_FLEET_NODE": node} if node else {"VMAFX_POOL": "pool"})

    def settings(self, tenant: str = "A", node: str = "", **others: str) -> Settings:
        """Return the same, as settings."""
        return config.load(self.variables(tenant, node) | others)


@contextmanager
def linked(settings: Settings) -> Iterator[Link]:
    """Give a connection that is there."""
    link = Link(settings, settings.pool or settings.fleet_name)
    try:
        eventually(lambda: link.is_up, explain=lambda: link.fault)
        yield link
    finally:
        link.close()


def do(link: Link, job: Job[T]) -> T:
    """Have a job done."""
    return link.begin(job, PATIENCE_S).result()
