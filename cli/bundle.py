"""``fdss bundle``: the address and the token of a running server as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from fdss import tokens
from fdss.bundles import Bundle
from fdss.client.session import ServerSession, checked_url
from fdss.errors import AuthenticationRequired, SettingError
from fdss.hosts import is_loopback
from fdss.router.names import SERVICE as ROUTER_SERVICE
from fdss.router.reaching import reached_from_outside
from fdss.router.registrations import WILDCARDS
from fdss.tokens import TOKEN_VARIABLE
from fdss.wire.names import DATASETS_PATH, HEALTH_PATH

from .given import given_token
from .target import server_url

_PORTS = {"http": 80, "https": 443}


@click.command()
@click.argument("url", required=False)
@click.option(
    "--host",
    help="Name or address that the bundle has.  [default: that of URL; for a server of this "
    "machine, one by which others reach it]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the server's token, - for standard input; needless for a server of this "
    "machine, whose token file is found.",
)
def bundle(url: str | None, host: str | None, token_file: Path | None) -> None:
    """Print the address and the token of a running server as one line, to be passed on.

    On the other machine, fdss router add or the router's page take it. Whoever has the line can
    read what the server serves. Standard output has the line and nothing else.
    """
    asked = _asked_place(url)
    token = given_token(token_file) or tokens.find(asked.url, None) or ""
    health = _checked_health(asked, token)
    wants_token = bool(health.get("policy", {}).get("auth_required", True))
    told = replace(asked, token=token if wants_token else "")
    if host is not None:
        told = replace(told, host=_checked_host(host))
    elif is_loopback(told.host):
        told = reached_from_outside(told, health)
    for line in _warnings(told):
        click.echo(f"warning: {line}", err=True)
    click.echo(str(told))


def _asked_place(url: str | None) -> Bundle:
    checked = checked_url(server_url(url))
    parts = urlsplit(checked)
    if parts.path:
        raise SettingError(f"No bundle can name {checked}: it has a path.")
    host = parts.hostname or ""
    port = parts.port or _PORTS[parts.scheme]
    return Bundle(WILDCARDS.get(host, host), port, scheme=parts.scheme)


def _checked_host(given: str) -> str:
    host = given.strip().removeprefix("[").removesuffix("]")
    if host in WILDCARDS:
        raise SettingError(
            f"A bundle names where a server is reached, which {host} does not say.",
            hint="without --host, fdss bundle looks for an address by which others reach it",
        )
    return host


def _checked_health(asked: Bundle, token: str) -> dict[str, Any]:
    """Return what the server says of itself, once it has taken the token."""
    with closing(ServerSession(asked.url, token or None)) as session:
        health = session.get_json(HEALTH_PATH)
        if health.get("service") == ROUTER_SERVICE:
            raise SettingError(
                f"{asked.url} is a router; a bundle names a dataset server.",
                hint="fdss cluster servers lists those of the router",
            )
        try:
            session.get_json(DATASETS_PATH)
        except AuthenticationRequired as error:
            error.hint = f"give --token-file, or set {TOKEN_VARIABLE} to the server's token"
            raise
    return health


def _warnings(told: Bundle) -> Iterator[str]:
    if told.token:
        yield (
            "this line is a credential: whoever has it reads what the server serves; pass it on "
            "like a password"
        )
    if is_loopback(told.host):
        yield (
            f"only this machine reaches {told.url}: forward its port with ssh -L, or start the "
            "server with --host 0.0.0.0 --tls"
        )
    elif told.token and told.scheme == "http":
        yield "http hides nothing: whoever is between the machines can read the token"
