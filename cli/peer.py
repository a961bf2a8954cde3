"""The certificate that an https server shows."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from fdss.hosts import unbracketed
from fdss.tls.certificates import fingerprint, not_after, title
from fdss.tls.state import warnings_of
from fdss.tls.trust import current_trust, unverified_context

from .target import Target

_TIMEOUT_S = 10.0
_CURE = "on its machine: fdss tls renew"


@dataclass(frozen=True)
class Peer:
    """A server's certificate, as one connection has shown it.

    Attributes:
        certificate: The certificate; None when the server is reached by a proxy only.
        is_verified: Whether chain, time and name were verified.
    """

    certificate: x509.Certificate | None
    is_verified: bool

    @property
    def left(self) -> timedelta | None:
        """Return how long it is still valid; negative when its time is over."""
        if self.certificate is None:
            return None
        return not_after(self.certificate) - datetime.now(timezone.utc)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        document: dict[str, Any] = {"verified": self.is_verified}
        if self.certificate is not None and self.left is not None:
            document.update(
                subject=title(self.certificate.subject),
                not_after=not_after(self.certificate).isoformat(),
                days_left=self.left // timedelta(days=1),
                sha256=fingerprint(self.certificate),
            )
        return document

    def line(self) -> str:
        """Return the line for people."""
        words = "verified" if self.is_verified else "NOT verified (--insecure)"
        if self.certificate is None or self.left is None:
            return words
        until = f"certificate until {not_after(self.certificate):%Y-%m-%d}"
        return f"{words}, {until} ({max(self.left // timedelta(days=1), 0)} days left)"

    def warnings(self) -> list[str]:
        """Return what to tell about the time that is left."""
        return (
            [] if self.left is None else warnings_of("the server's certificate", self.left, _CURE)
        )


def peer_of(target: Target) -> Peer:
    """Return the certificate of an https server that has answered just now."""
    parts = urlsplit(target.url)
    context = unverified_context() if target.is_unverified else current_trust().context
    host = unbracketed(parts.hostname or "")
    try:
        with (
            socket.create_connection((host, parts.port or 443), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ssl.CertificateError):
        # The answer came through a proxy, which this connection does not use.
        shown = None
    certificate = None if shown is None else x509.load_der_x509_certificate(shown)
    return Peer(certificate, not target.is_unverified)
