"""What a client trusts: this system's authorities, and those imported into the TLS folder.

Everything is the standard library's: a training job loads nothing more for https.
"""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import SettingError
from fdss.files import is_foreign

from .folder import TlsFolder

ROOTS_VARIABLE = "REQUESTS_CA_BUNDLE"
SYSTEM_VARIABLE = "SSL_CERT_FILE"
CERT_VARIABLE = "FORGATHER_TLS_CLIENT_CERT"
KEY_VARIABLE = "FORGATHER_TLS_CLIENT_KEY"

_VARIABLES = (ROOTS_VARIABLE, SYSTEM_VARIABLE, "SSL_CERT_DIR", CERT_VARIABLE, KEY_VARIABLE)
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.[0-9]+")
# X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module does not name.
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)

_Seen = tuple[object, ...]


@dataclass(frozen=True)
class Trust:
    """What this process trusts, as it was read from the files of one moment.

    Attributes:
        context: For connections that are verified: chain, time and name, TLS 1.2 or newer.
        seen: The variables and files it was made from.
    """

    context: ssl.SSLContext
    seen: _Seen


# By process: a context that was made before a fork is the parent's.
_kept: dict[int, Trust] = {}


def current_trust() -> Trust:
    """Return what this process trusts; the same object until a variable or a file changes.

    Trusted are the authorities in the file or folder that $REQUESTS_CA_BUNDLE names, or without
    it the system's ($SSL_CERT_FILE and $SSL_CERT_DIR move those; where a system has none they are
    certifi's), and those in the bundle of the TLS folder.

    Raises:
        SettingError: A file that is named does not exist, or is not what it should be.
    """
    process = os.getpid()
    kept, seen = _kept.get(process), tuple(_seen())
    if kept is None or kept.seen != seen:
        kept = _kept[process] = Trust(_verifying(), seen)
    return kept


def examining_context() -> ssl.SSLContext:
    """Return a context for reading the certificate of a server whose name or time is wrong.

    The chain is verified as ever. Nothing may be sent over its connections.
    """
    context = _verifying()
    context.check_hostname = False
    context.verify_flags |= _NO_CHECK_TIME
    return context


def unverified_context() -> ssl.SSLContext:
    """Return a context that verifies nothing: whoever answers is taken for the server.

    Raises:
        SettingError: The client certificate cannot be used.
    """
    context = _bare()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _add_client_certificate(context)
    return context


def client_certificate() -> str | None:
    """Return the file of the certificate to show to servers that ask for one, if one is named."""
    return os.environ.get(CERT_VARIABLE) or None


def _seen() -> Iterator[object]:
    system = ssl.get_default_verify_paths()
    yield from map(os.environ.get, _VARIABLES)
    named = (os.environ.get(variable) for variable in (ROOTS_VARIABLE, CERT_VARIABLE, KEY_VARIABLE))
    for file in (TlsFolder().bundle, system.cafile, system.capath, *named):
        try:
            found = os.stat(file) if file else None
        except OSError:
            found = None
        yield file, found and (found.st_mtime_ns, found.st_size, found.st_ino)


def _bare() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    return context


def _verifying() -> ssl.SSLContext:
    context = _bare()
    # Who imports an intermediate authority trusts it, though not the one above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    named = os.environ.get(ROOTS_VARIABLE)
    if named:
        _add_roots(context, Path(named), f"of ${ROOTS_VARIABLE}")
    else:
        _add_system_roots(context)
    bundle = TlsFolder().bundle
    if bundle.exists():
        _check_own(bundle)
        _add_roots(context, bundle, "of the TLS folder")
    _add_client_certificate(context)
    return context


def _check_own(bundle: Path) -> None:
    """Refuse authorities that another user may have put there.

    Raises:
        SettingError: The file or its folder is another user's, or anybody may write it.
    """
    for place in (bundle.parent, bundle):
        found = place.stat()
        if os.name == "posix" and (is_foreign(found) or found.st_mode & stat.S_IWOTH):
            raise SettingError(
                f"The authorities in {str(bundle)!r} are not trusted: {str(place)!r} belongs to "
                f"another user, or anybody may write it (mode {found.st_mode & 0o7777:04o}).",
                hint=f"look who is trusted there (fdss tls status), then chmod o-w {place}",
            )


def _add_system_roots(context: ssl.SSLContext) -> None:
    moved = os.environ.get(SYSTEM_VARIABLE)
    if moved:
        # OpenSSL would say nothing of a file that it does not find.
        _add_roots(context, Path(moved), f"of ${SYSTEM_VARIABLE}")
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if not moved and not context.cert_store_stats()["x509_ca"] and not _has_hashed_roots():
        import certifi

        context.load_verify_locations(certifi.where())


def _has_hashed_roots() -> bool:
    """Return whether OpenSSL finds authorities in a folder, where it looks for each by a hash."""
    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(map(_HASHED_NAME.fullmatch, os.listdir(folder)))


def _add_roots(context: ssl.SSLContext, path: Path, whose: str) -> None:
    try:
        if path.is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        raise SettingError(
            f"The certificates {whose} cannot be read from {str(path)!r}: {_reason(error)}.",
            hint="it must be a file of PEM certificates; fdss tls status looks at the TLS folder",
        ) from error


def _add_client_certificate(context: ssl.SSLContext) -> None:
    cert = client_certificate()
    if cert is None:
        return
    key = os.environ.get(KEY_VARIABLE) or None
    try:
        # Without a password a job would wait for one at the terminal.
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise SettingError(
            f"The client certificate {cert!r} cannot be used with the key"
            f" {key or cert!r}: {_reason(error)}.",
            hint=f"name a PEM certificate in {CERT_VARIABLE}, its key without password in"
            f" {KEY_VARIABLE}",
        ) from error


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()
