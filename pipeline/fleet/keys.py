"""Keys of NATS (nkeys): Ed25519, the private half as a line of text that is called a seed."""

from __future__ import annotations

import secrets
from pathlib import Path

from pipeline.fleet.faults import FleetFault
from pipeline.runtime.durable import write_durably


def make(path: Path) -> str:
    """Write a new seed, for its owner alone; return the public half."""
    import nkeys

    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    write_durably(path, bytes(seed), b"\n", mode=0o600)
    return _public(seed)


def public(path: Path) -> str:
    """Return the public half of a seed that is in a file. Raises FleetFault where there is none."""
    import nkeys

    try:
        return _public(path.read_bytes().strip())
    except OSError as error:
        raise FleetFault("local", f"{path}: {error.strerror}, expected the seed of a user's nkey") from None
    except (nkeys.NkeysError, ValueError):
        raise FleetFault("local", f"{path}: expected the seed of a user's nkey, which begins with SU") from None


def _public(seed: bytes) -> str:
    import nkeys

    if not seed.startswith(b"SU"):
        raise ValueError("not the seed of a user")
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())
