"""`vmafx-sidecar pool run`: a sidecar whose samples come from a fleet, in place of a node."""

from __future__ import annotations

import os

import click

from pipeline.console import parameters


@click.group()
def pool() -> None:
    """Train on the samples of a whole fleet."""


@pool.command(epilog="Example: VMAFX_FLEET_URL=tls://nats:4222 vmafx-sidecar pool run --name main")
@click.option(
    "--name",
    callback=parameters.name,
    envvar="VMAFX_POOL",
    default="pool",
    help="Name of the pool: one of a name is at work at a time.  [default: VMAFX_POOL, else pool]",
)
def run(name: str) -> None:
    """Run a pool in the foreground until SIGTERM; settings come from the environment, as those of a sidecar do.

    It has no socket. Other commands find it where VMAFX_POOL is its name and VMAFX_FLEET_TENANT its tenant. Exit codes
    are those of `vmafx-sidecar run`; 73: another pool of this name is at work, on whatever machine.
    """
    from pipeline.console.run import run_here

    os.environ["VMAFX_POOL"] = name
    run_here()
