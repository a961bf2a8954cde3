"""Certificates for tests: an authority of their own, and what it signs."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from fdss.tls.authority import Authority, make_authority
from fdss.tls.certificates import pem_of, pem_of_key
from fdss.tls.context import Identity
from fdss.tls.names import LOOPBACK, Names


def serial_of(connection: ssl.SSLSocket | ssl.SSLObject) -> str:
    """Return the number of the certificate that the other side has shown."""
    shown = connection.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


@dataclass
class Certified:
    """An authority and the files of what it has signed.

    Attributes:
        folder: Where the files are.
        authority: What signs.
    """

    folder: Path
    authority: Authority = field(default_factory=lambda: make_authority("Tests", 400))

    def __post_init__(self) -> None:
        self.ca.write_bytes(pem_of([self.authority.certificate]))

    @property
    def ca(self) -> Path:
        """Return the file of the authority's certificate."""
        return self.folder / "ca.crt"

    def identity(
        self, name: str = "server", *, names: Names = LOOPBACK, days: int = 30
    ) -> Identity:
        """Return a fresh certificate and its key, in place of those of the same name."""
        certificate, key = self.authority.issue(names, days, name=name)
        found = Identity(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        # Other files each time: the clock of a file system may be too coarse to tell one changed.
        for path, content in ((found.key, pem_of_key(key)), (found.cert, pem_of([certificate]))):
            fresh = path.with_suffix(".fresh")
            fresh.touch(0o600)
            fresh.write_bytes(content)
            fresh.replace(path)
        return found

    def client(self, own: Identity | None = None) -> ssl.SSLContext:
        """Return what a client trusts this authority with, and shows a certificate of its own."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if own is not None:
            context.load_cert_chain(own.cert, own.key)
        return context
