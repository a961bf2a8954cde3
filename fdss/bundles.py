"""The address and the token of a server as one line, to be passed on to another machine.

``forgather-dataset://HOST:PORT/?token=TOKEN`` names a server that speaks http;
``&scheme=https`` at its end, one that speaks https. Without a scheme it is http, as it was before
servers had TLS.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlsplit

from fdss.errors import BadBundle
from fdss.tokens import is_sendable

SCHEME = "forgather-dataset"
MAX_BUNDLE_CHARACTERS = 8_192
MAX_PORT = 65_535

_SERVER_SCHEMES = ("http", "https")
_FIELDS = {"token", "scheme"}
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?", re.ASCII)
_VISIBLE = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True)
class Bundle:
    """Where a server is, and the token it asks for.

    Attributes:
        host: A name or an address, kept in lower case; an IPv6 address without brackets.
        port: 1 to 65,535.
        token: Empty for a server without one.
        scheme: "http" or "https".
    """

    host: str
    port: int
    token: str = field(default="", repr=False)
    scheme: str = "http"

    def __post_init__(self) -> None:
        """Refuse what no bundle can carry.

        Raises:
            BadBundle: A field is out of range.
        """
        object.__setattr__(self, "host", self.host.lower())
        if not _is_host(self.host):
            raise BadBundle(f"A bundle names the host {self.host[:100]!r}, which is none.")
        if type(self.port) is not int or not 0 < self.port <= MAX_PORT:
            raise BadBundle(f"A bundle names the port {self.port!r}, not 1 to {MAX_PORT}.")
        if self.scheme not in _SERVER_SCHEMES:
            raise BadBundle(f"A bundle names the scheme {self.scheme[:100]!r}, not http or https.")
        if self.token and not is_sendable(self.token):
            raise BadBundle(
                "The token of a bundle holds white space, or characters beyond visible ASCII."
            )
        if len(str(self)) > MAX_BUNDLE_CHARACTERS:
            raise BadBundle(f"A bundle is longer than {MAX_BUNDLE_CHARACTERS:,} characters.")

    @property
    def url(self) -> str:
        """Return the URL of the server."""
        return f"{self.scheme}://{self._place}"

    def __str__(self) -> str:
        """Return the line that ``parse_bundle`` takes; it holds the token."""
        scheme = "" if self.scheme == "http" else f"&scheme={self.scheme}"
        return f"{SCHEME}://{self._place}/?token={quote(self.token, safe='')}{scheme}"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_bundle(text: str) -> Bundle:
    """Return what a bundle names; white space around it is left out.

    Raises:
        BadBundle: It is none. The message never holds the token.
    """
    given = text.strip()
    if len(given) > MAX_BUNDLE_CHARACTERS:
        raise BadBundle(f"A bundle is longer than {MAX_BUNDLE_CHARACTERS:,} characters.")
    if not _VISIBLE.fullmatch(given):
        raise BadBundle("A bundle is empty, or holds white space or no ASCII.")
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise BadBundle("A bundle cannot be taken apart.") from None
    if parts.scheme != SCHEME:
        raise BadBundle(f"A bundle begins with {SCHEME}://.")
    if not host or port is None or "@" in parts.netloc:
        raise BadBundle("A bundle names no host and port, or a user.")
    names = [name for name, _ in query]
    if parts.path not in ("", "/") or parts.fragment or sorted(set(names)) != sorted(names):
        raise BadBundle("A bundle has a path, a fragment, or a field twice.")
    if "token" not in names or not _FIELDS.issuperset(names):
        raise BadBundle("A bundle has no token field, or other fields than token and scheme.")
    told = dict(query)
    return Bundle(host, port, told["token"], told.get("scheme", "http"))


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        # A zone names a network card of the machine that wrote it.
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False
