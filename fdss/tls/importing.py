"""Certificates from elsewhere: taken for this machine's servers, or trusted."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from fdss.errors import SettingError

from .bundle import bundle_of, rebuild_bundle
from .certificates import (
    PrivateKey,
    fingerprint,
    is_authority,
    is_over,
    is_pair,
    is_signed_by,
    not_after,
    pem_of,
    pem_of_key,
    read_certificates,
    read_key,
    serves,
    title,
)
from .folder import TlsFolder
from .staging import PRIVATE, File, replace_together

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Trusted:
    """An authority that was imported.

    Attributes:
        certificate: Its certificate; the first one of the file.
        path: Where it is kept.
        was_known: Whether it had been imported before.
    """

    certificate: x509.Certificate
    path: Path
    was_known: bool


def install(folder: TlsFolder, cert: Path, key: Path, ca: Path | None) -> x509.Certificate:
    """Take a certificate, its chain and its key for this machine's servers; enable TLS.

    Where this machine has no authority of its own, the given one takes its place; else it joins
    the imported ones.

    Args:
        cert: PEM file: the server certificate first, then those that lead to its authority.
        ca: PEM file of the authority that signed; None when clients know it anyway.

    Raises:
        SettingError: A file is not what it should be, or they do not belong together.
        OSError: The folder cannot be written.
    """
    chain, found_key = read_certificates(cert), read_key(key)
    _check_server(chain, cert)
    _check_pair(chain, found_key, cert, key)
    authorities = [] if ca is None else read_authorities(ca)
    _check_chain(chain, authorities, cert)
    files = [File(folder.server_key, pem_of_key(found_key), PRIVATE)]
    files += [File(folder.server_cert, pem_of(chain)), *_authority_files(folder, authorities)]
    replace_together(files, [folder.server_cert])
    folder.save(dataclasses.replace(folder.config, enabled=True))
    return chain[0]


def _authority_files(folder: TlsFolder, authorities: list[x509.Certificate]) -> list[File]:
    has_own = folder.ca_key.exists()
    own = read_certificates(folder.ca_cert) if folder.ca_cert.exists() else []
    if not authorities or set(authorities) <= set(own):
        return _bundle_files(bundle_of(folder, own), folder)
    content = pem_of(authorities)
    if has_own:
        place = folder.trusted / f"{_default_name(authorities[0])}.crt"
        return [
            File(place, content),
            *_bundle_files(bundle_of(folder, own, authorities), folder),
        ]
    return [File(folder.ca_cert, content), *_bundle_files(bundle_of(folder, authorities), folder)]


def _bundle_files(trusted: list[x509.Certificate], folder: TlsFolder) -> list[File]:
    return [File(folder.bundle, pem_of(trusted))] if trusted else []


def import_authority(folder: TlsFolder, path: Path, name: str | None) -> Trusted:
    """Trust an authority from now on: it joins the bundle, which clients of this user verify with.

    Args:
        path: PEM file of one or more authorities.
        name: What to keep it as; None takes it from the certificate.

    Raises:
        SettingError: The file is not an authority's, or the name belongs to another one. One that
            was renewed takes its former place.
        OSError: The folder cannot be written.
    """
    if name is not None and not _NAME.fullmatch(name):
        raise SettingError(
            f"An authority is kept under a name of 1 to 64 letters, digits, '.', '_' and '-', "
            f"found {name!r}."
        )
    found = read_authorities(path)
    place = folder.trusted / f"{name or _default_name(found[0])}.crt"
    before = read_certificates(place) if place.exists() else []
    was_known = set(found) <= set(before)
    if before and not was_known and not _are_renewed(before, found):
        raise SettingError(
            f"Another authority is kept as {str(place)!r}.",
            hint="give this one a name of its own: --name NAME; or first: fdss tls forget-ca",
        )
    own = read_certificates(folder.ca_cert) if folder.ca_cert.exists() else []
    kept = before if was_known else found
    bundle = File(folder.bundle, pem_of(bundle_of(folder, own, kept, without=place)))
    replace_together([File(place, pem_of(kept)), bundle])
    return Trusted(found[0], place, was_known)


def _are_renewed(before: list[x509.Certificate], found: list[x509.Certificate]) -> bool:
    """Return whether those that are found are of the same authorities, and end later."""
    return len(before) == len(found) and all(
        old.subject == new.subject
        and old.public_key() == new.public_key()
        and not_after(old) < not_after(new)
        for old, new in zip(before, found, strict=True)
    )


def forget_authority(folder: TlsFolder, name: str) -> Path:
    """Trust an imported authority no longer, and return where it was kept.

    Raises:
        SettingError: There is none of that name.
        OSError: The folder cannot be written.
    """
    known = {path.stem: path for path in sorted(folder.trusted.glob("*.crt"))}
    if name not in known:
        raise SettingError(
            f"No imported authority is kept as {name!r} in {str(folder.trusted)!r}.",
            hint=f"imported are {', '.join(known)}" if known else "none is imported",
        )
    # In this order a process that dies in between can be repeated.
    rebuild_bundle(folder, without=known[name])
    known[name].unlink()
    return known[name]


def read_authorities(path: Path) -> list[x509.Certificate]:
    """Return the authorities of a PEM file.

    Raises:
        SettingError: The file cannot be read, or holds something else, or one that is expired.
    """
    found = read_certificates(path)
    for certificate in found:
        if not is_authority(certificate):
            raise SettingError(
                f"Certificate file {str(path)!r} is not an authority's: "
                f"{title(certificate.subject)!r} may not sign others.",
                hint="the authority's certificate comes from fdss tls export-ca on the server's "
                "machine",
            )
        _check_time(certificate, path)
    return found


def _check_server(chain: list[x509.Certificate], path: Path) -> None:
    _check_time(chain[0], path)
    if not serves(chain[0]):
        raise SettingError(
            f"Certificate file {str(path)!r} is not a server's: {title(chain[0].subject)!r} lacks "
            "the purpose serverAuth.",
            hint="ask who issued it for a server certificate",
        )


def _check_time(certificate: x509.Certificate, path: Path) -> None:
    if is_over(certificate):
        raise SettingError(
            f"Certificate file {str(path)!r} is of no use any more: "
            f"{title(certificate.subject)!r} expired on {not_after(certificate):%Y-%m-%d}.",
            hint="ask who issued it for a fresh one",
        )


def _check_pair(chain: list[x509.Certificate], found: PrivateKey, cert: Path, key: Path) -> None:
    if is_pair(chain[0], found):
        return
    place = next((at for at, other in enumerate(chain, 1) if is_pair(other, found)), None)
    raise SettingError(
        f"Key file {str(key)!r} is not the key of the first certificate in {str(cert)!r}.",
        hint=f"it belongs to certificate {place} there: put that one first" if place else None,
    )


def _check_chain(
    chain: list[x509.Certificate], authorities: list[x509.Certificate], path: Path
) -> None:
    for signed, issuer in zip(chain, chain[1:], strict=False):
        if not (is_signed_by(signed, issuer) and is_authority(issuer)):
            raise SettingError(
                f"The chain in {str(path)!r} is broken: {title(signed.subject)!r} was not signed "
                f"by {title(issuer.subject)!r}, which follows it.",
                hint="the server certificate comes first, and each is followed by its issuer",
            )
    if authorities and not _reaches(chain[-1], authorities):
        raise SettingError(
            f"The certificate in {str(path)!r} was not signed by the given authority "
            f"{title(authorities[0].subject)!r}, but by {title(chain[-1].issuer)!r}.",
            hint="name the authority that signed it: --ca FILE",
        )


def _reaches(last: x509.Certificate, authorities: Sequence[x509.Certificate]) -> bool:
    return last in authorities or any(is_signed_by(last, issuer) for issuer in authorities)


def _default_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(names[0].value) if names else ""
    short = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()[:48].strip("-")
    return short or f"ca-{fingerprint(certificate)[:11].replace(':', '').lower()}"
