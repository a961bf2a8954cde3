"""Certificates and private keys in PEM files: read, compared, described."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from fdss.errors import SettingError

MAX_FILE_BYTES = 262_144
MIN_RSA_BITS = 2048
CURVES = ("secp256r1", "secp384r1", "secp521r1")

PrivateKey: TypeAlias = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
Extension = TypeVar("Extension", bound=x509.ExtensionType)

_KINDS = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    ed448.Ed448PrivateKey,
)


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, one or more, in their order.

    Raises:
        SettingError: The file cannot be read, is too large, or holds no sound certificate.
    """
    content = read_limited(path, "Certificate")
    try:
        with warnings.catch_warnings():
            # Old authorities break rules that clients do not enforce, such as a serial number 0.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            found = x509.load_pem_x509_certificates(content)
            for certificate in found:
                _decode(certificate)
    except (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm) as error:
        raise SettingError(
            f"Certificate file {str(path)!r} holds no PEM certificate that can be read.",
            hint="the text of a certificate begins with -----BEGIN CERTIFICATE-----",
        ) from error
    return found


def _decode(certificate: x509.Certificate) -> None:
    """Decode what is otherwise decoded when it is first looked at, so that errors come now."""
    certificate.public_key()
    for part in (certificate.subject, certificate.issuer, certificate.extensions):
        list(part)
    _ = (certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def read_key(path: Path) -> PrivateKey:
    """Return the private key of a PEM file.

    Raises:
        SettingError: The file cannot be read, holds no key, an encrypted one, or one that TLS
            libraries refuse.
    """
    content = read_limited(path, "Key")
    if b"ENCRYPTED" in content:
        raise SettingError(
            f"Key file {str(path)!r} holds an encrypted key, which a server cannot open by itself.",
            hint=f"decrypt it: openssl pkey -in {path} -out plain.key",
        )
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingError(
            f"Key file {str(path)!r} holds no PEM private key that can be read.",
            hint="the text of a key begins with -----BEGIN PRIVATE KEY-----",
        ) from error
    if not isinstance(key, _KINDS):
        raise SettingError(f"Key file {str(path)!r} holds a {type(key).__name__}, not RSA or EC.")
    _check_strength(key, path)
    return key


def _check_strength(key: PrivateKey, path: Path) -> None:
    hint = "make a fresh one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise SettingError(
            f"Key file {str(path)!r} holds an RSA key of {key.key_size} bits; TLS needs "
            f"{MIN_RSA_BITS} or more.",
            hint=hint,
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        raise SettingError(
            f"Key file {str(path)!r} holds a key on the curve {key.curve.name}, not on one of "
            f"{', '.join(CURVES)}.",
            hint=hint,
        )


def read_limited(path: Path, kind: str) -> bytes:
    """Return the content of a file of certificates or keys.

    Raises:
        SettingError: The file cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is no path"
        raise SettingError(f"{kind} file {str(path)!r} cannot be read: {reason}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise SettingError(f"{kind} file {str(path)!r} is larger than {MAX_FILE_BYTES} bytes.")
    return content


def pem_of(certificates: list[x509.Certificate]) -> bytes:
    """Return certificates as PEM text, in their order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def pem_of_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PEM text (PKCS #8)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def is_pair(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Return whether a private key is that of a certificate."""
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)


def is_authority(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may sign others: CA:TRUE, and no key usage that excludes it."""
    constraints = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    return constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)


def serves(certificate: x509.Certificate) -> bool:
    """Return whether a certificate may identify a server."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(purpose in usage for purpose in allowed)


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether one certificate was signed with the key of another that it names."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    """Return the extension of a kind, or None."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def names_of(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the DNS names and the addresses that a certificate stands for."""
    names = extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return [], []
    addresses = names.get_values_for_type(x509.IPAddress)
    return names.get_values_for_type(x509.DNSName), [str(address) for address in addresses]


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 fingerprint as ``openssl x509 -fingerprint`` writes it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def not_after(certificate: x509.Certificate) -> datetime:
    """Return the moment, in UTC, when a certificate's time is over."""
    return certificate.not_valid_after_utc


def is_over(certificate: x509.Certificate, now: datetime | None = None) -> bool:
    """Return whether a certificate's time is over."""
    return not_after(certificate) <= (now or datetime.now(timezone.utc))


def title(name: x509.Name) -> str:
    """Return a subject or issuer as one line, most telling part first: ``CN=host,O=lab``."""
    return name.rfc4514_string() or "(no name)"
