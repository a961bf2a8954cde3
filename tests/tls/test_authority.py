"""What the authority signs, judged by openssl and by a handshake."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from foreign_certificates import OpenSsl, make_foreign

from fdss.errors import SettingError
from fdss.tls.authority import Authority, make_authority, read_authority
from fdss.tls.certificates import (
    extension,
    is_pair,
    is_signed_by,
    names_of,
    not_after,
    pem_of,
    pem_of_key,
)
from fdss.tls.names import LOOPBACK, Names

NAMES = LOOPBACK | Names(("data.lab",), ("10.0.0.7",))


def rsa_authority(folder: Path) -> Authority:
    """Return an authority that another program has made, read from its files."""
    return read_authority(*make_foreign("theirs", is_authority=True).write(folder, "ca"))


@pytest.mark.parametrize("kind", ["ours", "rsa"])
def test_openssl_accepts_the_chain(tmp_path: Path, openssl: OpenSsl, kind: str) -> None:
    """``openssl verify -x509_strict`` accepts what an authority of ours signs, and a renewed one.

    One of Forgather's signs as well; openssl is strict with those only once they are renewed.
    """
    authority = make_authority("ours", 100) if kind == "ours" else rsa_authority(tmp_path)
    renewed = authority.renewed(200)
    for signer, strict in ((authority, kind == "ours"), (renewed, True)):
        (tmp_path / "ca.pem").write_bytes(pem_of([signer.certificate]))
        leaf, _ = signer.issue(NAMES, 10, name="data")
        (tmp_path / "leaf.pem").write_bytes(pem_of([leaf]))
        flags = ["-x509_strict"] if strict else []
        for purpose in ("sslserver", "sslclient"):
            openssl("verify", *flags, "-purpose", purpose, "-CAfile", "ca.pem", "leaf.pem")
    # What the old one signed is accepted with the renewed one, and the other way round.
    (tmp_path / "ca.pem").write_bytes(pem_of([authority.certificate]))
    openssl("verify", "-CAfile", "ca.pem", "leaf.pem")


@pytest.mark.parametrize("kind", ["ed25519", "ed448", "ec -pkeyopt ec_paramgen_curve:P-384"])
def test_authorities_with_other_keys_sign(tmp_path: Path, openssl: OpenSsl, kind: str) -> None:
    """An authority that openssl has made, with a key of any kind, signs and is renewed here."""
    cert, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    made = ["-x509", "-nodes", "-subj", "/CN=other", "-days", "9", "-newkey", *kind.split()]
    openssl("req", *made, "-keyout", key, "-out", cert)
    authority = read_authority(cert, key)
    for signer in (authority, authority.renewed(20)):
        cert.write_bytes(pem_of([signer.certificate]))
        (tmp_path / "leaf.pem").write_bytes(pem_of([signer.issue(NAMES, 5, name="a")[0]]))
        openssl("verify", "-CAfile", cert, "leaf.pem")


def test_the_authority_signs_servers_only() -> None:
    """The authority has path length 0 and may sign; both of it are critical."""
    certificate = make_authority("ours", 100).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)

    assert constraints.critical
    assert usage.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.value.key_cert_sign
    assert not usage.value.digital_signature


def test_a_certificate_says_what_it_is_for() -> None:
    """A certificate carries its names, both purposes, no right to sign, and a P-256 key."""
    authority = make_authority("ours", 100)
    leaf, key = authority.issue(NAMES, 10, name="x" * 100)
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    constraints = extension(leaf, x509.BasicConstraints)
    known = extension(leaf, x509.AuthorityKeyIdentifier)
    own = extension(authority.certificate, x509.SubjectKeyIdentifier)

    assert purposes is not None
    assert constraints is not None
    assert known is not None
    assert own is not None
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not constraints.ca
    assert known.key_identifier == own.digest
    assert names_of(leaf) == (list(NAMES.hosts), list(NAMES.ips))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert is_pair(leaf, key)
    assert not is_pair(authority.certificate, key)
    assert leaf.subject.rfc4514_string() == "CN=" + "x" * 64


def test_serial_numbers_are_random() -> None:
    """No two certificates have the same serial number, and each has many bits."""
    authority = make_authority("ours", 100)
    serials = {authority.issue(NAMES, 10, name="a")[0].serial_number for _ in range(20)}

    assert len(serials) == 20
    assert min(serial.bit_length() for serial in serials) > 64


def test_a_certificate_begins_five_minutes_ago_and_lasts_its_days() -> None:
    """A certificate is valid from 5 minutes ago, for the days that were asked for."""
    leaf, _ = make_authority("ours", 3650).issue(NAMES, 825, name="a")
    now = datetime.now(timezone.utc)

    assert timedelta(minutes=5) <= now - leaf.not_valid_before_utc < timedelta(minutes=6)
    assert timedelta(0) <= now + timedelta(days=825) - not_after(leaf) < timedelta(minutes=1)


def test_a_certificate_never_outlives_its_authority() -> None:
    """A certificate ends with its authority at the latest."""
    authority = make_authority("ours", 10)
    leaf, _ = authority.issue(NAMES, 825, name="a")

    assert not_after(leaf) == not_after(authority.certificate)


def test_an_authority_whose_time_is_over_signs_nothing(tmp_path: Path) -> None:
    """An expired authority is refused, with the command that renews it."""
    old = make_foreign("old", is_authority=True, days=-1)
    authority = read_authority(*old.write(tmp_path, "ca"))

    with pytest.raises(SettingError, match="expired") as caught:
        authority.issue(NAMES, 10, name="a")
    assert caught.value.hint == "fdss tls renew --ca"
    assert is_signed_by(authority.renewed(9).issue(NAMES, 1, name="a")[0], authority.certificate)


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\0"])
def test_an_authority_has_a_name_that_can_be_shown(name: str) -> None:
    """Empty, long and unprintable names are refused."""
    with pytest.raises(SettingError, match="name of an authority"):
        make_authority(name, 10)


def test_files_that_are_no_authority_are_refused(tmp_path: Path) -> None:
    """A server's certificate, and a key of another one, are no authority."""
    theirs = make_foreign("theirs", is_authority=True)
    server_cert, server_key = make_foreign("s", theirs).write(tmp_path, "server")
    ca_cert, _ = theirs.write(tmp_path, "ca")

    with pytest.raises(SettingError, match="may not sign"):
        read_authority(server_cert, server_key)
    with pytest.raises(SettingError, match="not the key of the authority"):
        read_authority(ca_cert, server_key)


@pytest.mark.parametrize("kind", ["ours", "rsa"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "data.lab", "10.0.0.7"])
def test_a_handshake_verifies_every_name(tmp_path: Path, kind: str, host: str) -> None:
    """A client that trusts the authority verifies the server by each name and address."""
    authority = make_authority("ours", 100) if kind == "ours" else rsa_authority(tmp_path)
    leaf, key = authority.issue(NAMES, 10, name="data")
    pair = tmp_path / "pair.pem"
    pair.write_bytes(pem_of_key(key) + pem_of([leaf]))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=pem_of([authority.certificate]).decode("ascii"))
    if kind == "ours":
        client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert handshake(client, server, host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client, server, "other.lab")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> str | None:
    """Shake hands in memory, and return the version of TLS."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=host)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(10):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return here.version()
