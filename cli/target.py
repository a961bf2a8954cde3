"""Which server a diagnostic command talks to: the options, and what stands in for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from fdss.client.loader import AUTO, SERVER_VARIABLE
from fdss.errors import SettingError
from fdss.hosts import url_of
from fdss.settings import DEFAULT_HOST, DEFAULT_PORT
from fdss.tokens import TOKEN_VARIABLE

DEFAULT_URL = url_of(DEFAULT_HOST, DEFAULT_PORT)

Command = TypeVar("Command", bound=Callable[..., Any])

_SERVER = click.option(
    "--server",
    "given_url",
    metavar="URL",
    help=f"Server to ask.  [default: ${SERVER_VARIABLE}, else {DEFAULT_URL}]",
)
_TOKEN = click.option(
    "--token",
    metavar="TOKEN",
    help=f"Bearer token.  [default: ${TOKEN_VARIABLE}, else the token file of the server's port "
    "on this machine]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def server_options(command: Command) -> Command:
    """Give a command ``--server``, ``--token`` and ``--json``."""
    return _SERVER(_TOKEN(_JSON(command)))


def server_url(given_url: str | None) -> str:
    """Return the URL of the server to ask.

    Raises:
        SettingError: The environment names a cluster and no single server.
    """
    url = given_url or os.environ.get(SERVER_VARIABLE, "").strip() or DEFAULT_URL
    if url.lower() == AUTO:
        raise SettingError(
            f"${SERVER_VARIABLE} is {AUTO!r}, which names a cluster and not one server.",
            hint="name the server: --server http://HOST:PORT",
        )
    return url
