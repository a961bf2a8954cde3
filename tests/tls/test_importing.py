"""Certificates from elsewhere: which are taken, and what is said of the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from foreign_certificates import Foreign, make_foreign
from hypothesis import given, settings, strategies as st

from fdss.errors import SettingError
from fdss.tls.authority import make_authority, read_authority
from fdss.tls.certificates import (
    MAX_FILE_BYTES,
    fingerprint,
    pem_of,
    read_certificates,
    read_key,
)
from fdss.tls.folder import TlsFolder
from fdss.tls.importing import import_authority, install, read_authorities
from fdss.tls.provisioning import changing
from fdss.tls.state import TlsState, state_of


@pytest.fixture
def theirs() -> Foreign:
    """Return an authority of somebody else."""
    return make_foreign("Their CA", is_authority=True)


@pytest.fixture
def empty(root: Path) -> TlsFolder:
    """Return a TLS folder with nothing in it."""
    with changing(root, makes=True) as folder:
        return folder


def test_an_authority_joins_the_bundle(made: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """An imported authority is kept under its name, and trusted beside the own one."""
    path, _ = theirs.write(tmp_path, "ca")
    first, again = import_authority(made, path, None), import_authority(made, path, None)
    import_authority(made, path, "second")

    assert first.path == made.trusted / "their-ca.crt"
    assert (first.was_known, again.was_known) == (False, True)
    assert read_certificates(made.bundle) == [
        *read_certificates(made.ca_cert),
        theirs.certificate,
    ]
    assert sorted(path.name for path in made.trusted.iterdir()) == ["second.crt", "their-ca.crt"]


def test_a_renewed_authority_takes_its_place(
    empty: TlsFolder, theirs: Foreign, tmp_path: Path
) -> None:
    """A renewed authority of the same key replaces the imported one; an older one does not."""
    old, _ = theirs.write(tmp_path, "old")
    renewed = read_authority(*theirs.write(tmp_path, "ca")).renewed(3650).certificate
    new = tmp_path / "new.crt"
    new.write_bytes(pem_of([renewed]))
    import_authority(empty, old, None)
    import_authority(empty, new, None)

    assert read_certificates(empty.bundle) == [renewed]
    with pytest.raises(SettingError, match="Another authority"):
        import_authority(empty, old, None)


def test_a_client_needs_no_certificate(empty: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """On a machine without certificates importing makes a bundle, and nothing is enabled."""
    import_authority(empty, theirs.write(tmp_path, "ca")[0], None)

    assert read_certificates(empty.bundle) == [theirs.certificate]
    assert state_of(empty) is TlsState.MISSING
    assert not empty.config_file.exists()


def test_another_authority_is_not_replaced(
    empty: TlsFolder, theirs: Foreign, tmp_path: Path
) -> None:
    """Under a name that is taken another authority is refused."""
    import_authority(empty, theirs.write(tmp_path, "ca")[0], None)
    path = tmp_path / "other.crt"
    path.write_bytes(pem_of([make_authority("Their CA", 500).certificate]))

    with pytest.raises(SettingError, match="Another authority") as caught:
        import_authority(empty, path, None)
    assert "--name" in caught.value.hint
    assert import_authority(empty, path, "other").path.name == "other.crt"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "-a", "a b", "x" * 65, "ü"])
def test_names_that_lead_elsewhere_are_refused(
    empty: TlsFolder, theirs: Foreign, tmp_path: Path, name: str
) -> None:
    """A name is letters, digits and a few signs, so it cannot leave the folder."""
    with pytest.raises(SettingError, match="kept under a name"):
        import_authority(empty, theirs.write(tmp_path, "ca")[0], name)


def test_subjects_do_not_name_paths(empty: TlsFolder, tmp_path: Path) -> None:
    """What a certificate says of itself cannot lead out of the folder."""
    for number, subject in enumerate(["../../etc/x", "...", "\u202e", "a" * 64]):
        certificate = make_foreign(subject, is_authority=True)
        found = import_authority(empty, certificate.write(tmp_path, f"ca{number}")[0], None)

        assert found.path.parent == empty.trusted
        assert found.path.name.rstrip(".crt").isascii()


def test_what_is_no_authority_is_refused(empty: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """A server's certificate, an expired authority, a key and a text are refused."""
    server, key = make_foreign("s", theirs).write(tmp_path, "server")
    old, _ = make_foreign("old", is_authority=True, days=-1).write(tmp_path, "old")
    mixed = tmp_path / "mixed.crt"
    mixed.write_bytes(pem_of([theirs.certificate]) + server.read_bytes())
    text = tmp_path / "text"
    text.write_text("hello", "utf-8")

    for path, words in (
        (server, "is not an authority's"),
        (mixed, "is not an authority's"),
        (old, "expired on"),
        (key, "holds no PEM certificate"),
        (text, "holds no PEM certificate"),
        (tmp_path, "cannot be read"),
        (tmp_path / "nothing", "cannot be read"),
    ):
        with pytest.raises(SettingError, match=words):
            import_authority(empty, path, None)
    assert list(empty.root.rglob("*.crt")) == []


def test_files_are_read_no_further_than_they_should_be(tmp_path: Path) -> None:
    """A file that is larger than any certificate is refused."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    for read in (read_certificates, read_key):
        with pytest.raises(SettingError, match="is larger than"):
            read(large)


def test_install_takes_a_pair(empty: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """An RSA certificate with its authority is installed, trusted and enabled."""
    server = make_foreign("s", theirs)
    cert, key = server.write(tmp_path, "server")
    install(empty, cert, key, theirs.write(tmp_path, "ca")[0])

    assert state_of(empty) is TlsState.READY
    assert read_certificates(empty.server_cert) == [server.certificate]
    assert read_certificates(empty.ca_cert) == read_certificates(empty.bundle)
    assert fingerprint(read_certificates(empty.ca_cert)[0]) == fingerprint(theirs.certificate)


def test_install_keeps_the_own_authority(made: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """Where this machine has an authority, the one of an installed certificate joins it."""
    before = read_certificates(made.ca_cert)
    cert, key = make_foreign("s", theirs).write(tmp_path, "server")
    install(made, cert, key, theirs.write(tmp_path, "ca")[0])

    assert read_certificates(made.ca_cert) == before
    assert read_certificates(made.bundle) == [*before, theirs.certificate]


def test_a_chain_is_installed_whole(empty: TlsFolder, theirs: Foreign, tmp_path: Path) -> None:
    """Certificates that follow the server's are kept in their order; one out of order is not."""
    server = make_foreign("s", theirs)
    _, key = server.write(tmp_path, "server")
    chain, turned = tmp_path / "chain.pem", tmp_path / "turned.pem"
    chain.write_bytes(pem_of([server.certificate, theirs.certificate]))
    turned.write_bytes(pem_of([theirs.certificate, server.certificate]))
    other = tmp_path / "other.pem"
    other.write_bytes(pem_of([server.certificate, make_foreign("x").certificate]))
    install(empty, chain, key, None)

    assert read_certificates(empty.server_cert) == [server.certificate, theirs.certificate]
    with pytest.raises(SettingError, match="first certificate") as caught:
        install(empty, turned, key, None)
    assert "certificate 2" in caught.value.hint
    with pytest.raises(SettingError, match="chain in .* is broken"):
        install(empty, other, key, None)


def test_files_that_do_not_belong_together_are_refused(
    made: TlsFolder, theirs: Foreign, tmp_path: Path
) -> None:
    """A wrong key, authority, purpose or time is told, and nothing changes."""
    cert, key = make_foreign("s", theirs).write(tmp_path, "server")
    ca, ca_key = theirs.write(tmp_path, "ca")
    old = make_foreign("old", theirs, days=-1).write(tmp_path, "old")
    mail = make_foreign("m", theirs, purpose=ExtendedKeyUsageOID.EMAIL_PROTECTION)
    hidden = make_foreign("h", theirs).write(tmp_path, "hidden", password=b"x")
    before = {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}

    for files, words in (
        ((cert, ca_key, ca), "is not the key of the first certificate"),
        ((cert, cert, ca), "no PEM private key"),
        ((key, key, ca), "no PEM certificate"),
        ((cert, key, made.ca_cert), "was not signed by the given authority"),
        ((cert, key, cert), "is not an authority's"),
        ((*old, ca), "expired on"),
        ((*mail.write(tmp_path, "mail"), ca), "serverAuth"),
        ((*hidden, ca), "encrypted key"),
    ):
        with pytest.raises(SettingError, match=words):
            install(made, *files)
    assert {path: path.read_bytes() for path in before} == before


def test_weak_and_foreign_keys_are_refused(tmp_path: Path) -> None:
    """Keys that TLS libraries refuse are refused when they are installed."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    path = tmp_path / "key"
    for key, words in (
        (short, "RSA key of 1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "curve secp256k1"),
        (dsa.generate_private_key(2048), "not RSA or EC"),
    ):
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        with pytest.raises(SettingError, match=words):
            read_key(path)


PIECES = [
    pem_of([make_foreign("x").certificate]),
    make_foreign("y").key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
]


@given(
    st.sampled_from(PIECES),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=4),
    st.integers(0, 2000),
)
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_setting_errors(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    changes: list[tuple[int, bytes]],
    length: int,
) -> None:
    """However a certificate or a key is damaged, it is read or it is a SettingError."""
    damaged = bytearray(content)
    for place, piece in changes:
        damaged[place : place + len(piece)] = piece
    path = tmp_path_factory.getbasetemp() / "damaged.pem"
    path.write_bytes(damaged[: length or None])
    for read in (read_certificates, read_key, read_authorities):
        try:
            read(path)
        except SettingError as error:
            assert str(path) in error.message
