"""Whether the TLS folder holds what a server needs, and how long it will."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

from .folder import TlsFolder

WARN_DAYS = 30

_CURE = "run: fdss tls renew, or fdss tls install a fresh one"


class TlsState(Enum):
    """What a server finds in the TLS folder.

    MISSING: There is no server certificate, or no key of it.
    DISABLED: There are both, and config.yaml does not enable them.
    EXPIRED: They are enabled, and the certificate's time is over.
    READY: They are enabled, and the certificate's time is not over.
    """

    MISSING = "missing"
    DISABLED = "disabled"
    EXPIRED = "expired"
    READY = "ready"


def state_of(folder: TlsFolder, now: datetime | None = None) -> TlsState:
    """Return what a server finds in the TLS folder.

    Raises:
        SettingError: The server certificate cannot be read, or is none.
    """
    if not (folder.server_cert.is_file() and folder.server_key.is_file()):
        return TlsState.MISSING
    if not folder.config.enabled:
        return TlsState.DISABLED
    return (
        TlsState.EXPIRED if time_left(folder.server_cert, now) <= timedelta(0) else TlsState.READY
    )


def expiry_warnings(cert: Path, now: datetime | None = None) -> list[str]:
    """Return what to tell people about the time a certificate has left; often nothing.

    Args:
        cert: PEM file; the first certificate in it counts.

    Raises:
        SettingError: The file cannot be read, or holds no certificate.
    """
    return warnings_of(str(cert), time_left(cert, now), _CURE)


def warnings_of(name: str, left: timedelta, cure: str) -> list[str]:
    """Return what to tell people about a certificate that has a time left."""
    if left <= timedelta(0):
        return [f"{name} expired {_days(-left)} ago; {cure}"]
    if left < timedelta(days=WARN_DAYS):
        return [f"{name} expires in {_days(left)}; {cure}"]
    return []


def time_left(cert: Path, now: datetime | None = None) -> timedelta:
    """Return how long the first certificate of a PEM file is still valid; negative when over.

    Raises:
        SettingError: The file cannot be read, or holds no certificate.
    """
    # Here, so that a server without TLS does not wait for its import.
    from .certificates import not_after, read_certificates

    moment = datetime.now(timezone.utc) if now is None else now
    return not_after(read_certificates(cert)[0]) - moment


def _days(span: timedelta) -> str:
    if span < timedelta(days=1):
        return "less than a day"
    return "1 day" if span.days == 1 else f"{span.days} days"
