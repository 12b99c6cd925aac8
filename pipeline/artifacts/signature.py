"""Whose a model is: Ed25519 signatures over the digest that names it, by keys in PEM files.

A digest says that a file is whole; who can write to a registry can store another model with another digest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pipeline.artifacts.artifact import SIGNATURE_TYPE, Artifact
from pipeline.artifacts.faults import RegistryFault
from pipeline.runtime.extras import lacking

FILE = "signature"
_SIGNED = "vmafx-sidecar model {}\n"


def name_of(digest: str) -> str:
    """Return the name under which the signature of a digest is stored."""
    return f"{digest.replace(':', '-')}.sig"


class Signer:
    """A private key."""

    def __init__(self, key: Path) -> None:
        """Read the key. Raises RegistryFault where it cannot be used."""
        self._key: Any = _load(key, "load_pem_private_key", "private", password=None)

    def sign(self, digest: str) -> Artifact:
        """Return the signature of a digest, as an artifact of its own."""
        signature: bytes = self._key.sign(_SIGNED.format(digest).encode())
        return Artifact({FILE: signature}, {}, SIGNATURE_TYPE)


class Trust:
    """The public key of those whose models are taken."""

    def __init__(self, key: Path) -> None:
        """Read the key. Raises RegistryFault where it cannot be used."""
        self._where = str(key)
        self._key: Any = _load(key, "load_pem_public_key", "public")

    @classmethod
    def of(cls, key: Path | None) -> Self | None:
        """Return what a setting says: None where no key is configured."""
        return cls(key) if key is not None else None

    def check(self, digest: str, signature: bytes | None) -> None:
        """Raise RegistryFault unless the signature of the digest is by this key."""
        from cryptography.exceptions import InvalidSignature

        if signature is None:
            raise RegistryFault("unsigned", f"{digest} is not signed, expected a signature by {self._where}")
        try:
            self._key.verify(signature, _SIGNED.format(digest).encode())
        except InvalidSignature:
            raise RegistryFault("unsigned", f"{digest}: its signature is not by {self._where}") from None


def _load(path: Path, loader: str, kind: str, **arguments: Any) -> Any:
    if missing := lacking("registry", "a signature"):
        raise RegistryFault("local", missing)
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    expected = f"{path}: expected an Ed25519 {kind} key in a PEM file (openssl genpkey -algorithm ed25519)"
    try:
        key = getattr(serialization, loader)(path.read_bytes(), **arguments)
    except OSError as error:
        raise RegistryFault("local", f"{path}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise RegistryFault("local", expected) from None
    wanted = ed25519.Ed25519PrivateKey if kind == "private" else ed25519.Ed25519PublicKey
    if not isinstance(key, wanted):
        raise RegistryFault("local", expected)
    return key
