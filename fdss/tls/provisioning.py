"""What the commands do to the TLS folder: authority and certificates, made and renewed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from fdss.errors import SettingError
from fdss.files import make_private
from fdss.locking import locked

from .authority import Authority, make_authority, read_authority
from .bundle import bundle_of, rebuild_bundle
from .certificates import (
    PrivateKey,
    is_pair,
    is_signed_by,
    pem_of,
    pem_of_key,
    read_certificates,
    read_key,
    title,
)
from .folder import LOCK, TlsConfig, TlsFolder
from .names import LOOPBACK, Names, all_names, capped, checked_names, is_address, machine_name
from .staging import PRIVATE, File, replace_together


@dataclass(frozen=True)
class Issued:
    """What a command has made.

    Attributes:
        authority: The certificate of the authority that signed.
        certificate: The fresh certificate.
        is_fresh_authority: Whether the authority's certificate is fresh, too.
    """

    authority: x509.Certificate
    certificate: x509.Certificate
    is_fresh_authority: bool = False


@contextmanager
def changing(root: Path, *, makes: bool = False) -> Iterator[TlsFolder]:
    """Hold the TLS folder against other commands that change it.

    Args:
        makes: Make the folder when it is not there.

    Raises:
        SettingError: config.yaml is not what it should be.
        OSError: The folder cannot be written.
    """
    if makes:
        make_private(root)
    with locked(root / LOCK) if root.is_dir() else nullcontext():
        yield TlsFolder(root)


def init(folder: TlsFolder, given: Names, *, ca_name: str | None, force: bool) -> Issued:
    """Make what is missing of authority and certificate, a fresh certificate always; enable TLS.

    Args:
        given: Names and addresses beside those of this machine; they are kept in config.yaml.
        ca_name: Name of a fresh authority; None names it after this machine.
        force: Replace the authority that is there. Nothing it signed is accepted any more.

    Raises:
        SettingError: The authority that is there cannot be used.
        OSError: The folder cannot be written.
    """
    is_fresh = force or not (folder.ca_cert.exists() or folder.ca_key.exists())
    if is_fresh:
        authority = make_authority(
            _fresh_name() if ca_name is None else ca_name, folder.config.ca_validity_days
        )
    else:
        authority = own_authority(folder)
    wanted = _kept_names(folder.config) | given
    issued = _place(folder, authority, all_names(wanted), is_fresh)
    _remember(folder, wanted, enabled=True)
    return issued


def renew(folder: TlsFolder, added: Names, *, with_authority: bool) -> Issued:
    """Issue the server certificate anew; with the authority's, which keeps its key and name.

    Args:
        added: Names and addresses to carry from now on; they are kept in config.yaml.

    Raises:
        SettingError: There is no authority to sign with, or somebody else's certificate to keep.
        OSError: The folder cannot be written.
    """
    authority = own_authority(folder)
    _refuse_foreign(folder, authority.certificate)
    if with_authority:
        authority = authority.renewed(folder.config.ca_validity_days)
    wanted = _kept_names(folder.config) | added
    issued = _place(folder, authority, all_names(wanted), with_authority)
    if len(added):
        _remember(folder, wanted, enabled=folder.config.enabled)
    return issued


def mint(folder: TlsFolder, out: Path, given: Names) -> Issued:
    """Put a certificate for another machine into a fresh folder, with key and authority.

    Args:
        given: Names and addresses of that machine; the loopback ones are added.

    Raises:
        SettingError: There is no authority to sign with, or the folder is not empty.
        OSError: The folder cannot be written.
    """
    authority = own_authority(folder)
    names = capped(LOOPBACK | given)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(
            f"Certificates are minted into a fresh folder, found something in {str(out)!r}.",
            hint="name one that does not exist: -o FOLDER",
        )
    certificate, key = authority.issue(
        names, folder.config.validity_days, name=(given.hosts + given.ips + ("localhost",))[0]
    )
    make_private(out)
    files = [*_server_files(out / "server.crt", out / "server.key", certificate, key)]
    replace_together([*files, File(out / "ca.crt", pem_of([authority.certificate]))])
    _keep_serial(folder, certificate)
    return Issued(authority.certificate, certificate)


def own_authority(folder: TlsFolder) -> Authority:
    """Return the authority that this machine signs with.

    Raises:
        SettingError: There is none, or its files are not what they should be.
    """
    if folder.ca_cert.exists() and folder.ca_key.exists():
        return read_authority(folder.ca_cert, folder.ca_key)
    if folder.ca_cert.exists():
        raise SettingError(
            f"The key of the authority is not on this machine: {str(folder.ca_key)!r} is missing.",
            hint="on the machine that has it: fdss tls mint -o FOLDER; "
            "here: fdss tls install with the files of that folder",
        )
    if folder.ca_key.exists():
        raise SettingError(
            f"The authority has a key and no certificate: {str(folder.ca_cert)!r} is missing.",
            hint="restore it, from the copy of a client for example, or make another authority: "
            "fdss tls init --force",
        )
    raise SettingError(
        f"There is no certificate authority in {str(folder.root)!r}.", hint="fdss tls init"
    )


def set_enabled(folder: TlsFolder, enabled: bool) -> None:
    """Say whether servers of this machine speak HTTPS without being told to.

    Raises:
        SettingError: There is nothing to enable, or certificate and key do not match.
        OSError: The folder cannot be written.
    """
    if enabled:
        _check_server_files(folder)
        rebuild_bundle(folder)
    if enabled or folder.config_file.exists():
        folder.save(dataclasses.replace(folder.config, enabled=enabled))


def _check_server_files(folder: TlsFolder) -> None:
    if not (folder.server_cert.exists() and folder.server_key.exists()):
        raise SettingError(
            f"There is no server certificate with its key in {str(folder.root)!r}.",
            hint="fdss tls init makes them, fdss tls install takes yours",
        )
    if not is_pair(read_certificates(folder.server_cert)[0], read_key(folder.server_key)):
        raise SettingError(
            f"Key file {str(folder.server_key)!r} is not the key of {str(folder.server_cert)!r}.",
            hint="fdss tls init issues both anew",
        )


def _place(folder: TlsFolder, authority: Authority, names: Names, is_fresh: bool) -> Issued:
    """Issue the server certificate and put everything that changes into its place."""
    certificate, key = authority.issue(names, folder.config.validity_days, name=machine_name())
    files, removed_first = [], [folder.server_cert]
    if is_fresh:
        files.append(File(folder.ca_key, pem_of_key(authority.key), PRIVATE))
        files.append(File(folder.ca_cert, pem_of([authority.certificate])))
        removed_first.append(folder.ca_cert)
    files += _server_files(folder.server_cert, folder.server_key, certificate, key)
    files.append(File(folder.bundle, pem_of(bundle_of(folder, [authority.certificate]))))
    replace_together(files, removed_first)
    _keep_serial(folder, certificate)
    return Issued(authority.certificate, certificate, is_fresh)


def _server_files(
    cert: Path, key_file: Path, certificate: x509.Certificate, key: PrivateKey
) -> list[File]:
    return [File(key_file, pem_of_key(key), PRIVATE), File(cert, pem_of([certificate]))]


def _keep_serial(folder: TlsFolder, certificate: x509.Certificate) -> None:
    """Keep the number as openssl does, so that it can sign with this authority, too."""
    digits = f"{certificate.serial_number:X}"
    content = digits.zfill(len(digits) + len(digits) % 2) + "\n"
    replace_together([File(folder.ca_serial, content.encode())])


def _refuse_foreign(folder: TlsFolder, authority: x509.Certificate) -> None:
    if not folder.server_cert.exists():
        return
    found, *_ = read_certificates(folder.server_cert)
    if not is_signed_by(found, authority):
        raise SettingError(
            f"The server certificate was not signed by this machine's authority, but by "
            f"{title(found.issuer)!r}.",
            hint="get a fresh one there, then fdss tls install; or go back to this machine's "
            "authority: fdss tls init",
        )


def _kept_names(config: TlsConfig) -> Names:
    given = (*config.hostnames, *config.ips)
    ips = [text for text in given if is_address(text)]
    return checked_names((text for text in given if text not in ips), ips)


def _remember(folder: TlsFolder, names: Names, *, enabled: bool) -> None:
    folder.save(
        dataclasses.replace(folder.config, enabled=enabled, hostnames=names.hosts, ips=names.ips)
    )


def _fresh_name() -> str:
    # Two authorities of one machine must not be taken for each other.
    return f"FDSS {machine_name()[:48]} {os.urandom(4).hex()}"
