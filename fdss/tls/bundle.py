"""The bundle: every authority that clients of this user trust, in one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from .certificates import pem_of, read_certificates
from .folder import TlsFolder
from .staging import File, replace_together


def rebuild_bundle(folder: TlsFolder, without: Path | None = None) -> None:
    """Write the bundle anew: the own authority and the imported ones, each once.

    Args:
        without: File of an imported one that is left out.

    Raises:
        SettingError: The certificate of one of them cannot be read.
        OSError: The folder cannot be written.
    """
    own = read_certificates(folder.ca_cert) if folder.ca_cert.exists() else []
    trusted = bundle_of(folder, own, without=without)
    if trusted:
        replace_together([File(folder.bundle, pem_of(trusted))])
    else:
        folder.bundle.unlink(missing_ok=True)


def bundle_of(
    folder: TlsFolder,
    own: Iterable[x509.Certificate],
    imported: Iterable[x509.Certificate] = (),
    without: Path | None = None,
) -> list[x509.Certificate]:
    """Return the own authorities and the imported ones, with those that are being imported."""
    paths = sorted(path for path in folder.trusted.glob("*.crt") if path != without)
    kept = map(read_certificates, paths)
    found = [*own, *(certificate for file in kept for certificate in file), *imported]
    return list(dict.fromkeys(found))
