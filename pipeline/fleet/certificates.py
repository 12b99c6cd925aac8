"""A certificate authority of the fleet's own: who has its certificate trusts the fleet's servers, and nobody else."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.fleet.faults import FleetFault
from pipeline.runtime.durable import write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName, Name

_AUTHORITY_DAYS, _SERVER_DAYS, _RENEWED_DAYS = 3650, 730, 180
"""How long they are valid, and how long before its end a server's is made anew."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Authority:
    """The authority in a directory: `ca.pem` for everybody, `ca.key` for nobody else. Made where there is none."""

    def __init__(self, directory: Path) -> None:
        """Read or make it. Raises FleetFault where its files cannot be used."""
        self._path, self._key_path = directory / "ca.pem", directory / "ca.key"
        if not self._path.exists():
            self._make()
        self._certificate = _certificate(self._path)

    @property
    def pem(self) -> bytes:
        """The certificate that servers are checked with."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return self._certificate.public_bytes(Encoding.PEM)

    def certify(self, directory: Path, hosts: list[str]) -> bool:
        """Have `cert.pem` and `key.pem` for a server of these names, made anew where they end soon.

        Returns whether they are new. Only then the authority's key is needed.
        """
        path, key_path = directory / "cert.pem", directory / "key.pem"
        wanted = [*dict.fromkeys([*hosts, *_LOOPBACK])]
        if path.exists() and key_path.exists() and self._is_good(_certificate(path), _key(key_path), wanted):
            return False
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import ExtendedKeyUsageOID

        own_key = _key(self._key_path)
        if self._certificate.public_key() != own_key.public_key():
            raise FleetFault("local", f"{self._key_path}: is not the key of {self._path}")
        key = ec.generate_private_key(ec.SECP256R1())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _builder(hosts[0], self._certificate.subject, key, own_key, _SERVER_DAYS, is_authority=False)
            .add_extension(x509.SubjectAlternativeName([_general(host) for host in wanted]), critical=False)
            .add_extension(usages, critical=False)
            .sign(own_key, SHA256())
        )
        write_durably(key_path, _pem_of(key), mode=0o600)
        write_durably(path, certificate.public_bytes(Encoding.PEM))
        return True

    def _make(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import Encoding

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vmafx fleet")])
        builder = _builder("vmafx fleet", name, key, key, _AUTHORITY_DAYS, is_authority=True)
        write_durably(self._key_path, _pem_of(key), mode=0o600)
        write_durably(self._path, builder.sign(key, SHA256()).public_bytes(Encoding.PEM))

    def _is_good(self, certificate: Certificate, key: EllipticCurvePrivateKey, hosts: list[str]) -> bool:
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature

        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        said = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        same = set(said) == {_general(host) for host in hosts} and certificate.public_key() == key.public_key()
        return same and left > timedelta(days=_RENEWED_DAYS)


def _builder(
    name: str,
    issuer: Name,
    key: EllipticCurvePrivateKey,
    issuer_key: EllipticCurvePrivateKey,
    days: int,
    *,
    is_authority: bool,
) -> CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    )
    usage |= {"decipher_only": False, "digital_signature": not is_authority}
    usage |= {"key_cert_sign": is_authority, "crl_sign": is_authority}
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of nodes may be behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


def _general(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem_of(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(path: Path) -> Certificate:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise FleetFault("local", f"{path}: expected a certificate (PEM)") from None


def _key(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise FleetFault("local", f"{path}: expected a private key of an elliptic curve (PEM)")
    return key
