"""The private certificate authority: made, read, and what it signs.

Certificates follow RFC 5280, so that ``openssl verify -x509_strict`` accepts them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fdss.errors import SettingError

from .certificates import (
    PrivateKey,
    extension,
    is_authority,
    is_over,
    is_pair,
    not_after,
    read_certificates,
    read_key,
    title,
)
from .names import Names

# Clocks of machines differ.
CLOCK_SKEW = timedelta(minutes=5)
MAX_TITLE = 64


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    def issue(self, names: Names, days: int, *, name: str) -> tuple[x509.Certificate, PrivateKey]:
        """Return a fresh certificate for names and addresses, and its fresh key (ECDSA P-256).

        Args:
            days: Days it is valid, but never longer than the authority is.
            name: Title of the certificate, cut after 64 characters; clients do not verify it.

        Raises:
            SettingError: The authority's time is over.
        """
        if is_over(self.certificate):
            raise SettingError(
                f"The authority {title(self.certificate.subject)!r} expired on "
                f"{not_after(self.certificate):%Y-%m-%d}.",
                hint="fdss tls renew --ca",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        moment = datetime.now(timezone.utc)
        builder = (
            _builder(_name(name), self.certificate.subject, key, moment)
            .not_valid_after(min(moment + timedelta(days=days), not_after(self.certificate)))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(_PURPOSES, critical=False)
            .add_extension(_alternatives(names), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        return _signed(builder, self.key), key

    def renewed(self, days: int) -> Authority:
        """Return the same authority, with the same key and name, valid from now on."""
        subject = self.certificate.subject
        return Authority(_self_signed(subject, self.key, days), self.key)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        known = extension(self.certificate, x509.SubjectKeyIdentifier)
        if known is None:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


_PURPOSES = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)


def make_authority(name: str, days: int) -> Authority:
    """Return a fresh authority that signs servers, and no other authority (ECDSA P-256).

    Raises:
        SettingError: The name is empty, longer than 64 characters, or not printable.
    """
    if not name.strip() or len(name) > MAX_TITLE or not name.isprintable():
        raise SettingError(
            f"The name of an authority has 1 to {MAX_TITLE} printable characters, found {name!r}.",
            hint="--ca-name 'Data of our lab'",
        )
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(_self_signed(_name(name), key, days), key)


def read_authority(certificate: Path, key: Path) -> Authority:
    """Return the authority in two PEM files.

    Raises:
        SettingError: A file cannot be read, the certificate is not an authority's, or the key is
            not its key.
    """
    found, *_ = read_certificates(certificate)
    if not is_authority(found):
        raise SettingError(
            f"Certificate file {str(certificate)!r} is not an authority's: "
            f"{title(found.subject)!r} may not sign others.",
            hint="fdss tls init --force makes a new authority",
        )
    authority = Authority(found, read_key(key))
    if not is_pair(found, authority.key):
        raise SettingError(
            f"Key file {str(key)!r} is not the key of the authority in {str(certificate)!r}.",
            hint="restore the right one of the two, or: fdss tls init --force",
        )
    return authority


def _self_signed(name: x509.Name, key: PrivateKey, days: int) -> x509.Certificate:
    moment = datetime.now(timezone.utc)
    builder = (
        _builder(name, name, key, moment)
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
    )
    return _signed(builder, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, moment: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - CLOCK_SKEW)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> x509.Certificate:
    # The Edwards curves come with a hash of their own.
    is_edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if is_edwards else hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:MAX_TITLE])])


def _usage(*, digital_signature: bool = False, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Names) -> x509.SubjectAlternativeName:
    hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in names.hosts]
    ips = [x509.IPAddress(ipaddress.ip_address(ip)) for ip in names.ips]
    return x509.SubjectAlternativeName([*hosts, *ips])
