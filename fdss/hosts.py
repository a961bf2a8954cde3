"""Host names as they stand in a URL, and which of them never leave this machine."""

from __future__ import annotations

import ipaddress


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
