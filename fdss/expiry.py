"""When the certificate that a server shows expires."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from fdss.errors import SettingError


class Expiry:
    """The end of a certificate's time, read again when its file changes.

    A file that is gone or broken changes nothing: the server goes on with what it has read.
    """

    def __init__(self, cert: Path) -> None:
        """Take the PEM file; the first certificate in it counts."""
        self._cert = cert
        self._seen: tuple[int, ...] | None = None
        self._at_s: float | None = None

    def at_s(self) -> float | None:
        """Return when it is, in seconds since the epoch; None before the file could be read."""
        # Here, so that a server without TLS does not wait for its import.
        from fdss.tls.certificates import not_after, read_certificates

        with suppress(OSError, SettingError):
            found = os.stat(self._cert)
            seen = found.st_ino, found.st_size, found.st_mtime_ns
            if seen != self._seen:
                self._at_s = not_after(read_certificates(self._cert)[0]).timestamp()
                self._seen = seen
        return self._at_s

    def trouble(self) -> str | None:
        """Return why no client would take the certificate; None if its time is not over."""
        at_s = self.at_s()
        if at_s is None:
            return "the certificate cannot be read"
        return "the certificate has expired" if at_s <= time.time() else None
