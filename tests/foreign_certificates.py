"""Certificates with RSA keys, as Forgather and others make them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OpenSsl = Callable[..., str]
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Foreign:
    """A certificate with an RSA key that another program has made."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def write(self, folder: Path, name: str, *, password: bytes | None = None) -> tuple[Path, Path]:
        """Write certificate and key, and return their paths."""
        cert, key = folder / f"{name}.crt", folder / f"{name}.key"
        hidden = NoEncryption() if password is None else BestAvailableEncryption(password)
        cert.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        key.write_bytes(
            self.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, hidden)
        )
        key.chmod(0o600)
        return cert, key


_KEYS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]


def make_foreign(
    name: str = "elsewhere",
    issuer: Foreign | None = None,
    *,
    is_authority: bool = False,
    days: int = 400,
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
) -> Foreign:
    """Return a certificate for localhost, or an authority; it began 500 days ago.

    Args:
        days: Days from now that it is valid; negative when its time is over.
    """
    key = _KEYS[0 if is_authority else 1]
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.datetime.now(datetime.timezone.utc) - 500 * DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(title)
        .issuer_name(issuer.certificate.subject if issuer else title)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + (500 + days) * DAY)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
    )
    if not is_authority:
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    signer = issuer.key if issuer else key
    return Foreign(builder.sign(signer, hashes.SHA256()), key)
