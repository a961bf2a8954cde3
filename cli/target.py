"""Which server a diagnostic command talks to: the options, and what stands in for them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from fdss import tokens
from fdss.client.loader import AUTO, SERVER_VARIABLE
from fdss.client.session import ServerSession, checked_url
from fdss.errors import SettingError
from fdss.hosts import url_of
from fdss.settings import DEFAULT_HOST, DEFAULT_PORT
from fdss.tls.folder import TlsFolder
from fdss.tokens import TOKEN_VARIABLE

_DEFAULT_URL = url_of(DEFAULT_HOST, DEFAULT_PORT)

_SERVER = click.option(
    "--server",
    "given_url",
    metavar="URL",
    help=f"Server to ask.  [default: ${SERVER_VARIABLE}, else {_DEFAULT_URL}, or https where "
    "this machine's TLS folder is enabled]",
)
_TOKEN = click.option(
    "--token",
    metavar="TOKEN",
    help=f"Bearer token.  [default: ${TOKEN_VARIABLE}, else the token file of the server's port "
    "on this machine]",
)
_INSECURE = click.option(
    "--insecure",
    is_flag=True,
    help="Do not verify an https server; it is sent no token but that of --token.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@dataclass(frozen=True)
class Target:
    """The server that a command asks.

    Attributes:
        url: Its URL.
        token: What ``--token`` gives.
        is_unverified: Whether it is asked over TLS without being verified.
    """

    url: str
    token: str | None
    is_unverified: bool

    def session(self) -> ServerSession:
        """Return a session with the server; the caller closes it."""
        return ServerSession(self.url, self.token, insecure=self.is_unverified)

    @property
    def has_token(self) -> bool:
        """Return whether the session sends a token."""
        found = self.token if self.is_unverified else tokens.find(self.url, self.token)
        return found is not None


def server_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--server``, ``--token``, ``--insecure`` and ``--json``.

    It is called with a ``Target`` for the first three.
    """

    @functools.wraps(command)
    def with_target(
        given_url: str | None, token: str | None, insecure: bool, **others: Any
    ) -> None:
        url = checked_url(server_url(given_url))
        target = Target(url, token, insecure and url.startswith("https:"))
        if insecure:
            click.echo(f"warning: {_insecure_words(target)}", err=True)
        command(target, **others)

    return _SERVER(_TOKEN(_INSECURE(_JSON(with_target))))


def server_url(given_url: str | None) -> str:
    """Return the URL of the server to ask.

    Raises:
        SettingError: The environment names a cluster and no single server, or the TLS folder of
            this machine, which says how its own server speaks, cannot be read.
    """
    url = given_url or os.environ.get(SERVER_VARIABLE, "").strip() or _default_url()
    if url.lower() == AUTO:
        raise SettingError(
            f"${SERVER_VARIABLE} is {AUTO!r}, which names a cluster and not one server.",
            hint="fdss cluster servers lists its servers; name one with --server URL",
        )
    return url


def _default_url() -> str:
    return url_of(DEFAULT_HOST, DEFAULT_PORT, TlsFolder().scheme)


def _insecure_words(target: Target) -> str:
    if target.is_unverified:
        return f"--insecure: whoever answers at {target.url} is taken for the server"
    return f"--insecure has no effect on {target.url}: http verifies nothing"
