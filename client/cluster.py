"""The session with a cluster's router, which says which server to read from."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from fdss import places, tokens
from fdss.errors import SettingError
from fdss.hosts import is_loopback, url_of
from fdss.tls.folder import TlsFolder
from fdss.wire.names import ROUTER_PORT

from .failures import Attempt
from .session import ServerSession

URL_VARIABLE = "FORGATHER_SERVER_URL"
TOKEN_VARIABLE = "FORGATHER_SERVER_TOKEN"
DEFAULT_HOST = "127.0.0.1"
TIMEOUT_S = 10.0


class RouterSession(ServerSession):
    """Requests to the router that ``FORGATHER_SERVER_URL`` names, or this machine's.

    Its token is ``FORGATHER_SERVER_TOKEN``, else, for a loopback URL, what this machine's router
    keeps in its file. A dataset server's token is never sent to it.
    """

    def __init__(self, url: str | None = None) -> None:
        """Take the router's URL; nothing is sent yet.

        Args:
            url: None for the environment's, else for this machine's.

        Raises:
            SettingError: The URL or the token is malformed, or the TLS folder cannot be read.
        """
        named = url or os.environ.get(URL_VARIABLE, "").strip()
        super().__init__(named or own_router_url(), timeout_s=TIMEOUT_S)

    def __repr__(self) -> str:
        return f"RouterSession({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RouterSession, (self.url,)

    def _found(self) -> str | None:
        named = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not named and is_loopback(urlsplit(self.url).hostname or ""):
            named = tokens.read(places.router_token_file()) or ""
        if named and not tokens.is_sendable(named):
            raise SettingError(f"{TOKEN_VARIABLE} holds white space, or characters beyond ASCII.")
        return named or None

    def _attempt(self, asked: str, timeout_s: float, is_direct: bool) -> Attempt:
        hint = f"check {URL_VARIABLE}, and that the router runs (fdss router start)"
        return Attempt(self.url, asked, timeout_s, is_direct, "cluster router", hint)

    def _token_hint(self) -> str:
        return f"set {TOKEN_VARIABLE} to the token of the router at {self.url}"


def own_router_url() -> str:
    """Return the URL of this machine's router, which speaks as the TLS folder says.

    Raises:
        SettingError: The TLS folder cannot be read.
    """
    return url_of(DEFAULT_HOST, ROUTER_PORT, TlsFolder().scheme)
