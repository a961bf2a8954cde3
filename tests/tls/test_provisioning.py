"""What the commands do to the TLS folder."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml
from foreign_certificates import OpenSsl, make_foreign

from fdss.errors import SettingError
from fdss.tls import importing, provisioning
from fdss.tls.certificates import is_pair, is_signed_by, names_of, read_certificates, read_key
from fdss.tls.cleaning import clean
from fdss.tls.folder import TlsFolder
from fdss.tls.names import MAX_NAMES, Names
from fdss.tls.state import TlsState, state_of

FORGATHER = """\
enabled: true
auto_on_non_loopback: true
verify_hostname: false
ca_cert: ca/ca.crt
ca_key: ca/ca.key
ca_serial: ca/ca.srl
server_cert: server.crt
server_key: server.key
ca_bundle: ca-bundle.crt
trusted_dir: trusted
san: {hostnames: [data.lab], ips: [10.0.0.7]}
validity_days: 100
ca_validity_days: 3650
cluster: {peers: [a]}
"""


@pytest.fixture
def forgathers(root: Path) -> TlsFolder:
    """Return a TLS folder as Forgather leaves one: RSA keys, relative paths, a key of its own."""
    (root / "ca").mkdir(parents=True)
    (root / "trusted").mkdir()
    authority = make_foreign("Forgather CA", is_authority=True)
    authority.write(root / "ca", "ca")
    cert, _ = authority.write(root, "ca-bundle")
    _.unlink()
    assert cert.name == "ca-bundle.crt"
    make_foreign("host", authority).write(root, "server")
    (root / "config.yaml").write_text(FORGATHER, "utf-8")
    return TlsFolder(root)


def init(folder: TlsFolder, names: Names | None = None, *, force: bool = False) -> None:
    """Run ``init`` with the defaults."""
    provisioning.init(folder, names or Names(), ca_name=None, force=force)


def server_of(folder: TlsFolder) -> bytes:
    """Return the server certificate's text."""
    return folder.server_cert.read_bytes()


def test_init_makes_everything(made: TlsFolder, openssl: OpenSsl) -> None:
    """After init there are authority, certificate, bundle and serial number, and TLS is ready."""
    [server], [authority] = read_certificates(made.server_cert), read_certificates(made.ca_cert)

    assert state_of(made) is TlsState.READY
    assert is_signed_by(server, authority)
    assert is_pair(server, read_key(made.server_key))
    assert read_certificates(made.bundle) == [authority]
    assert int(made.ca_serial.read_text("ascii"), 16) == server.serial_number
    openssl("verify", "-x509_strict", "-CAfile", made.bundle, made.server_cert)


@pytest.mark.only_on("linux", "darwin")
def test_modes_of_a_fresh_folder(made: TlsFolder) -> None:
    """Folders are 0700, keys and configuration 0600, certificates 0644."""
    modes = {
        path.relative_to(made.root).as_posix(): f"{path.stat().st_mode & 0o777:o}"
        for path in (made.root, *made.root.rglob("*"))
    }

    assert modes == {
        **{".": "700", "ca": "700", ".lock": "600", "config.yaml": "600"},
        **{"ca/ca.key": "600", "server.key": "600", "ca/ca.crt": "644", "ca/ca.srl": "644"},
        **{"server.crt": "644", "ca-bundle.crt": "644"},
    }


def test_init_again_keeps_the_authority(made: TlsFolder) -> None:
    """A second init issues the certificate anew and keeps authority and names."""
    authority, server = made.ca_cert.read_bytes(), server_of(made)
    init(made, Names(("data.lab",), ("10.0.0.7",)))
    provisioning.set_enabled(made, False)
    init(made, Names(("two.lab",)))
    hosts, ips = names_of(read_certificates(made.server_cert)[0])

    assert made.ca_cert.read_bytes() == authority
    assert server_of(made) != server
    assert {"localhost", "data.lab", "two.lab"} <= set(hosts)
    assert "10.0.0.7" in ips
    assert made.config.hostnames == ("data.lab", "two.lab")
    assert made.config.enabled


def test_force_makes_another_authority(made: TlsFolder) -> None:
    """With force nothing that the old authority signed is accepted."""
    [old], [old_server] = read_certificates(made.ca_cert), read_certificates(made.server_cert)
    init(made, force=True)
    [new], [new_server] = read_certificates(made.ca_cert), read_certificates(made.server_cert)

    assert old.subject != new.subject
    assert not is_signed_by(old_server, new)
    assert is_signed_by(new_server, new)
    assert read_certificates(made.bundle) == [new]


def test_names_that_are_too_many_change_nothing(made: TlsFolder) -> None:
    """An init that is refused leaves everything as it was."""
    before = server_of(made)

    with pytest.raises(SettingError, match="at most 256"):
        init(made, Names(tuple(f"h{number}.lab" for number in range(MAX_NAMES))), force=True)
    assert server_of(made) == before
    assert made.config.hostnames == ()


def test_a_folder_of_forgather_is_renewed(forgathers: TlsFolder, openssl: OpenSsl) -> None:
    """An RSA authority of Forgather signs here; its configuration stays as it is."""
    assert state_of(forgathers) is TlsState.READY
    provisioning.renew(forgathers, Names(), with_authority=False)
    [server] = read_certificates(forgathers.server_cert)
    hosts, ips = names_of(server)

    assert forgathers.config_file.read_text("utf-8") == FORGATHER
    assert "data.lab" in hosts
    assert "10.0.0.7" in ips
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days == 100
    openssl("verify", "-CAfile", forgathers.bundle, forgathers.server_cert)


def test_names_that_are_added_stay(forgathers: TlsFolder) -> None:
    """Added names join those of config.yaml, beside keys that FDSS does not know."""
    provisioning.renew(forgathers, Names(("two.lab",)), with_authority=False)
    document = yaml.safe_load(forgathers.config_file.read_text("utf-8"))
    expected = yaml.safe_load(FORGATHER)
    expected["san"]["hostnames"].append("two.lab")

    assert document == expected


def test_addresses_among_the_names_count_as_addresses(forgathers: TlsFolder) -> None:
    """An address that stands among the hostnames of config.yaml is carried as an address."""
    text = FORGATHER.replace("[data.lab]", "[data.lab, 10.0.0.9]")
    forgathers.config_file.write_text(text, "utf-8")
    folder = TlsFolder(forgathers.root)
    provisioning.renew(folder, Names(), with_authority=False)
    hosts, ips = names_of(read_certificates(folder.server_cert)[0])

    assert "10.0.0.9" in ips
    assert "data.lab" in hosts


def test_a_renewed_authority_keeps_its_key(forgathers: TlsFolder) -> None:
    """A renewed authority and the old one accept the same certificates."""
    [old_ca], [old] = (
        read_certificates(forgathers.ca_cert),
        read_certificates(forgathers.server_cert),
    )
    provisioning.renew(forgathers, Names(), with_authority=True)
    [new_ca], [new] = (
        read_certificates(forgathers.ca_cert),
        read_certificates(forgathers.server_cert),
    )

    assert old_ca != new_ca
    assert new_ca.not_valid_after_utc > old_ca.not_valid_after_utc
    assert all(is_signed_by(leaf, ca) for leaf in (old, new) for ca in (old_ca, new_ca))
    assert is_pair(new_ca, read_key(forgathers.ca_key))


def test_a_certificate_of_somebody_else_is_not_renewed(made: TlsFolder, tmp_path: Path) -> None:
    """Renewing refuses to replace an installed certificate, and says who signed it."""
    importing.install(made, *make_foreign("theirs").write(tmp_path, "t"), None)
    before = server_of(made)

    with pytest.raises(SettingError, match="CN=theirs"):
        provisioning.renew(made, Names(), with_authority=False)
    assert server_of(made) == before


@pytest.mark.parametrize("missing", ["ca/ca.key", "ca/ca.crt", "ca"])
def test_an_authority_that_is_not_whole_signs_nothing(made: TlsFolder, missing: str) -> None:
    """Without the authority's key or certificate nothing is signed, and none is made silently."""
    for path in [made.root / missing] if missing != "ca" else [made.ca_cert, made.ca_key]:
        path.unlink()
    before = server_of(made)

    with pytest.raises(SettingError) as caught:
        provisioning.renew(made, Names(), with_authority=False)
    assert "fdss tls" in caught.value.hint
    if missing != "ca":
        with pytest.raises(SettingError):
            init(made)
    assert server_of(made) == before


def test_a_minted_certificate_is_installed_elsewhere(
    made: TlsFolder, tmp_path: Path, openssl: OpenSsl
) -> None:
    """What one machine mints another installs; the second cannot sign, and exports the first's."""
    out = tmp_path / "out"
    provisioning.mint(made, out, Names(("gpu.lab",), ("10.0.0.9",)))
    openssl("verify", "-x509_strict", "-CAfile", out / "ca.crt", out / "server.crt")
    other = TlsFolder(tmp_path / "other")
    with provisioning.changing(other.root, makes=True) as other:
        importing.install(other, out / "server.crt", out / "server.key", out / "ca.crt")
    hosts, ips = names_of(read_certificates(other.server_cert)[0])

    assert state_of(other) is TlsState.READY
    assert (hosts, ips) == (["localhost", "gpu.lab"], ["127.0.0.1", "::1", "10.0.0.9"])
    assert read_certificates(other.ca_cert) == read_certificates(made.ca_cert)
    assert read_certificates(other.bundle) == read_certificates(made.ca_cert)
    with pytest.raises(SettingError, match="not on this machine"):
        provisioning.renew(other, Names(), with_authority=False)


@pytest.mark.only_on("linux", "darwin")
def test_a_minted_key_is_private(made: TlsFolder, tmp_path: Path) -> None:
    """The folder of a minted certificate is 0700 and its key 0600."""
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    provisioning.mint(made, out, Names())

    assert out.stat().st_mode & 0o777 == 0o700
    assert (out / "server.key").stat().st_mode & 0o777 == 0o600


def test_minting_replaces_nothing(made: TlsFolder, tmp_path: Path) -> None:
    """A folder with anything in it, and a file, are refused."""
    (tmp_path / "file").write_bytes(b"mine")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(SettingError, match="fresh folder"):
            provisioning.mint(made, out, Names())

    assert (tmp_path / "file").read_bytes() == b"mine"


def test_enabling_needs_a_pair(root: Path, made: TlsFolder) -> None:
    """TLS is enabled with a key and its certificate only; disabling always works."""
    provisioning.set_enabled(made, False)
    assert state_of(made) is TlsState.DISABLED
    other, _ = make_foreign("theirs").write(root, "theirs")
    other.replace(made.server_cert)
    with pytest.raises(SettingError, match="is not the key"):
        provisioning.set_enabled(made, True)
    made.server_cert.unlink()
    with pytest.raises(SettingError, match="no server certificate"):
        provisioning.set_enabled(made, True)

    assert not TlsFolder(root).config.enabled


def test_enabling_mends_the_bundle(made: TlsFolder) -> None:
    """Enabling writes the bundle anew."""
    made.bundle.unlink()
    provisioning.set_enabled(made, True)

    assert read_certificates(made.bundle) == read_certificates(made.ca_cert)


def test_disabling_makes_nothing(root: Path) -> None:
    """Disabling what is not there leaves no folder behind."""
    with provisioning.changing(root) as folder:
        provisioning.set_enabled(folder, False)

    assert not root.exists()


def test_cleaning_removes_what_is_ours_and_nothing_else(made: TlsFolder, tmp_path: Path) -> None:
    """Everything the commands made goes, also what a killed one left; other files stay."""
    importing.import_authority(
        made, make_foreign("theirs", is_authority=True).write(tmp_path, "t")[0], None
    )
    (made.root / ".server.key.0123456789abcdef").write_bytes(b"left over")
    (made.root / "notes.txt").write_bytes(b"mine")
    (made.root / "ca" / "mine.key").write_bytes(b"mine")
    clean(made)
    left = {path.relative_to(made.root).as_posix() for path in made.root.rglob("*")}

    assert left == {"notes.txt", "ca", "ca/mine.key"}


def test_cleaning_leaves_files_that_lie_elsewhere(root: Path, tmp_path: Path) -> None:
    """A file outside the folder, which config.yaml names, is not removed."""
    cert, key = make_foreign("theirs").write(tmp_path, "mine")
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(
        yaml.safe_dump({"server_cert": str(cert), "server_key": str(key)}), "utf-8"
    )
    clean(TlsFolder(root))

    assert cert.exists()
    assert key.exists()
    assert not root.exists()


def test_commands_at_the_same_time_take_turns(root: Path) -> None:
    """Inits at the same time make one authority, and a pair that matches."""

    def once() -> None:
        with provisioning.changing(root, makes=True) as folder:
            init(folder)

    threads = [threading.Thread(target=once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = TlsFolder(root)
    [server], [authority] = read_certificates(folder.server_cert), read_certificates(folder.ca_cert)

    assert is_pair(server, read_key(folder.server_key))
    assert is_signed_by(server, authority)
    assert [path.name for path in root.rglob(".*")] == [".lock"]
