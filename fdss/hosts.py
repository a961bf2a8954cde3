"""Host names as they stand in a URL, and which of them never leave this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit, urlunsplit

from fdss.errors import SettingError


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself: localhost, 127.0.0.0/8 or ::1.

    A name other than ``localhost`` is never looked up; it counts as another machine.
    """
    bare = unbracketed(host).rstrip(".").lower()
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def unbracketed(host: str) -> str:
    """Return a host without the brackets an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """Return the URL of a host and port, IPv6 addresses in brackets, without a trailing slash."""
    bare = unbracketed(host)
    return f"{scheme}://[{bare}]:{port}" if ":" in bare else f"{scheme}://{bare}:{port}"


def checked_server_url(url: str, token_hint: str) -> str:
    """Return a server's URL without a slash at its end.

    Args:
        token_hint: What helps where the URL holds a token.

    Raises:
        SettingError: It is not http or https, names no host, or holds credentials or a query.
    """
    try:
        parts = urlsplit(url.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise no_server_url(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingError(
            f"The URL of the dataset server at {parts.hostname} holds credentials or a query.",
            hint=token_hint,
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def no_server_url(url: str) -> SettingError:
    """Return the error of what is no URL of a server; credentials in it are not shown."""
    shown = url.strip().rpartition("@")[2].partition("?")[0]
    return SettingError(
        f"{shown!r} is not the URL of a dataset server.", hint="write http://HOST:PORT"
    )
