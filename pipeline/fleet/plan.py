"""What a fleet's servers are configured for: hosts, tenants, and the public half of everybody's key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.fleet.faults import FleetFault
from pipeline.runtime.durable import write_durably

FILE = "fleet.json"


class Members(msgspec.Struct):
    """Who is of a tenant: public keys, of the pool and of nodes by name."""

    pool: str = ""
    nodes: dict[str, str] = {}


class Plan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """As it lies in `fleet.json`; all files of servers follow from it, so that private keys may be taken elsewhere.

    hosts: names of the one server, or of a cluster's servers. at, store: directories on a server's machine, empty:
    where they were written. http: where a server says how it is, HOST:PORT or empty. sync: how often it syncs
    what it has stored, `always` or an interval. bytes: of a tenant's stream.
    """

    hosts: list[str] = []
    is_cluster: bool = False
    port: int = 4222
    http: str = "127.0.0.1:8222"
    tls: bool = True
    at: str = ""
    store: str = ""
    sync: str = "always"
    bytes: int = 1 << 30
    tenants: dict[str, Members] = {}

    @property
    def replicas(self) -> int:
        """On how many servers each sample is stored: as many as survive the loss of one, where there are enough."""
        return 3 if self.is_cluster else 1

    @property
    def urls(self) -> tuple[str, ...]:
        """Where sidecars find the servers."""
        scheme = "tls" if self.tls else "nats"
        bracketed = (f"[{host}]" if ":" in host else host for host in self.hosts)
        return tuple(f"{scheme}://{host}:{self.port}" for host in bracketed)[: None if self.is_cluster else 1]


def read(directory: Path) -> Plan:
    """Return the plan of a directory; an empty one where there is none. Raises FleetFault."""
    path = directory / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except FileNotFoundError:
        return Plan()
    except msgspec.MsgspecError as error:
        raise FleetFault("local", f"{path}: expected what `vmafx-sidecar fleet config` writes there: {error}") from None


def write(directory: Path, plan: Plan) -> None:
    """Keep the plan."""
    write_durably(directory / FILE, msgspec.json.format(msgspec.json.encode(plan), indent=2), b"\n")
