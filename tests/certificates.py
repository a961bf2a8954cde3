"""Certificates of every kind a client may meet, made for a test."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.timezone.utc)
DAY = dt.timedelta(days=1)
HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Files:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    def context(self, client_authority: Path | None = None) -> ssl.SSLContext:
        """Return the context of a server that shows the certificate.

        Args:
            client_authority: Clients have to show a certificate of this authority.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A certificate authority.

    Attributes:
        files: Its own certificate and key.
    """

    def __init__(
        self,
        folder: Path,
        name: str = "authority",
        *,
        begin: dt.datetime = NOW - 9 * DAY,
        end: dt.datetime = NOW + 9 * DAY,
    ) -> None:
        """Make one in a folder."""
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        made = _builder(self._name, self._name, self._key, begin, end).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.files = _written(folder, name, made.sign(self._key, hashes.SHA256()), self._key)

    def sign(
        self,
        name: str = "server",
        *,
        names: Sequence[str] = HERE,
        begin: dt.datetime = NOW - DAY,
        end: dt.datetime = NOW + DAY,
    ) -> Files:
        """Return a certificate of this authority for names and addresses, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = _leaf(_builder(_named(name), self._name, key, begin, end), names)
        return _written(self._folder, name, made.sign(self._key, hashes.SHA256()), key)


def self_signed(folder: Path, names: Sequence[str] = HERE) -> Files:
    """Return a certificate that no authority has signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("alone")
    made = _leaf(_builder(name, name, key, NOW - DAY, NOW + DAY), names)
    return _written(folder, "alone", made.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: dt.datetime,
    end: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _leaf(builder: x509.CertificateBuilder, names: Sequence[str]) -> x509.CertificateBuilder:
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return builder.add_extension(
        x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False
    ).add_extension(x509.ExtendedKeyUsage(usages), critical=False)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _written(
    folder: Path, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Files:
    files = Files(folder / f"{name}.crt", folder / f"{name}.key")
    files.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
