"""Who belongs to the cluster, and the one Protocol behind which every way of knowing it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from fdss import tokens
from fdss.errors import SettingError
from fdss.hosts import checked_server_url, is_loopback, no_server_url

MAX_LABEL = 200


@dataclass(frozen=True)
class Member:
    """A dataset server of the cluster.

    Attributes:
        base_url: Its address, without a slash at the end.
        auth_token: What it wants to be sent; empty if nothing is known.
        label: What people call it.
        verify_tls: Whether its certificate is checked.
        source: The kind of membership that named it.
        hostname: The machine it says it is on; empty if it does not say.
    """

    base_url: str
    auth_token: str = field(default="", repr=False)
    label: str = ""
    verify_tls: bool = True
    source: str = ""
    hostname: str = ""

    @property
    def server_id(self) -> str:
        """Return 12 hex digits that name it, the same for every router."""
        return server_id_of(self.base_url)

    @property
    def is_loopback(self) -> bool:
        """Return whether only its own machine can reach it."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    @property
    def is_private(self) -> bool:
        """Return whether a token sent there stays unread: TLS that is checked, or no network."""
        return self.is_loopback or (self.verify_tls and self.base_url.startswith("https:"))


class Membership(Protocol):
    """A way of knowing which servers there are."""

    @property
    def every_s(self) -> float:
        """Return how many seconds may pass until it is asked again."""

    def members(self) -> list[Member]:
        """Return the servers of the cluster now.

        Raises:
            OSError: It cannot be known now; what was known stays.
        """

    def close(self) -> None:
        """Release what it holds."""


@lru_cache(maxsize=1 << 12)
def server_id_of(base_url: str) -> str:
    """Return 12 hex digits that name the server at a URL."""
    return hashlib.sha256(base_url.rstrip("/").encode()).hexdigest()[:12]


def checked_base_url(url: str) -> str:
    """Return a server's URL without a slash at the end.

    Raises:
        SettingError: It is not http or https, names no host, or holds credentials or a query.
    """
    if not url.strip().isprintable():
        raise no_server_url(url)
    parts = urlsplit(
        checked_server_url(url, "write http://HOST:PORT, and give the token on its own")
    )
    return parts._replace(netloc=parts.netloc.lower()).geturl()


def member_from_json(entry: Mapping[str, Any], source: str) -> Member:
    """Return the member that an entry of a registry describes.

    Raises:
        SettingError: A field is missing or is none of the things it could be.
    """
    url, token = entry.get("base_url"), entry.get("auth_token") or ""
    label, verify_tls = entry.get("label"), entry.get("verify_tls", True)
    if not isinstance(url, str) or not isinstance(token, str) or not isinstance(verify_tls, bool):
        raise SettingError("An entry needs base_url and auth_token (texts), and verify_tls (bool).")
    if token and not tokens.is_sendable(token):
        raise SettingError("A token holds white space, or characters beyond visible ASCII.")
    base_url = checked_base_url(url)
    return Member(
        base_url,
        token,
        _shown(label) or base_url,
        verify_tls,
        source,
        _shown(entry.get("hostname")),
    )


def _shown(told: Any) -> str:
    """Return a text as one short line that can be seen; empty for what is none."""
    kept = told[:MAX_LABEL] if isinstance(told, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in kept).strip()
