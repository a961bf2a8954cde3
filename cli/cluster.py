"""``fdss cluster``: ask a router what the cluster has, and which server it would choose."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import click

from fdss import places
from fdss.client.cluster import (
    DEFAULT_HOST,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    RouterSession,
    own_router_url,
)
from fdss.client.session import READ_TIMEOUT_S, ServerSession, checked_url
from fdss.errors import AuthenticationRequired, FdssError, ServerUnreachable
from fdss.hosts import url_of
from fdss.router.names import INVENTORY_PATH, SERVERS_PATH, proxy_path
from fdss.wire.names import ROUTER_PORT, ROUTER_RESOLVE_PATH

from .cluster_output import answer_lines, conflict_lines, inventory_lines, server_lines
from .output import print_json, print_lines, printable

_DEFAULT_URL = url_of(DEFAULT_HOST, ROUTER_PORT)
#: What a server can be asked for, and the router's word for it.
QUESTIONS = {"status": "health", "list": "datasets", "cache": "cache", "local": "local"}

_SERVER = click.option(
    "--server",
    "given_url",
    metavar="URL",
    help=f"Router to ask.  [default: ${URL_VARIABLE}, else {_DEFAULT_URL}, or https where "
    "this machine's TLS folder is enabled]",
)
_TOKEN = click.option(
    "--token",
    metavar="TOKEN",
    help=f"The router's token.  [default: ${TOKEN_VARIABLE}, else the token file of this "
    "machine's router]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@dataclass(frozen=True)
class RouterTarget:
    """The router that a command asks."""

    url: str
    token: str | None

    def get_json(self, path: str) -> dict[str, Any]:
        """Return the JSON object that a path answers with.

        Raises:
            FdssError: The router does not answer, or refuses.
        """
        try:
            with closing(self._session()) as session:
                return session.get_json(path)
        except AuthenticationRequired as error:
            error.hint = (
                f"pass --token or set {TOKEN_VARIABLE}; the router keeps its token in "
                f"{places.router_token_file()} of its machine"
            )
            raise
        except ServerUnreachable as error:
            error.hint = "check the URL, and that the router runs (fdss router start)"
            raise

    def _session(self) -> ServerSession:
        if self.token:
            return ServerSession(self.url, self.token)
        session = RouterSession(self.url)
        # The router itself waits for the server that it asks.
        session.timeout_s = READ_TIMEOUT_S
        return session


def _router_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--server``, ``--token`` and ``--json``; the group's own stand in."""

    def with_target(given_url: str | None, token: str | None, **others: Any) -> None:
        outer_url, outer_token = click.get_current_context().obj or (None, None)
        url = given_url or outer_url or os.environ.get(URL_VARIABLE, "").strip()
        target_url = checked_url(url or own_router_url())
        command(RouterTarget(target_url, token or outer_token), **others)

    with_target.__doc__ = command.__doc__
    with_target.__name__ = command.__name__
    return _SERVER(_TOKEN(_JSON(with_target)))


@click.group()
@_SERVER
@_TOKEN
@click.pass_context
def cluster(ctx: click.Context, given_url: str | None, token: str | None) -> None:
    """Ask a router what its cluster has, and which server it chooses."""
    ctx.obj = (given_url, token)


@cluster.command()
@click.option("-v", "--verbose", is_flag=True, help="Show ages, errors, counts and columns, too.")
@_router_options
def datasets(target: RouterTarget, verbose: bool, as_json: bool) -> None:
    """List the servers of the cluster and the datasets they offer."""
    found = target.get_json(INVENTORY_PATH)
    if as_json:
        print_json(found)
        return
    print_lines(inventory_lines(found, verbose=verbose))
    for line in conflict_lines(found):
        click.echo(line, err=True)


@cluster.command()
@_router_options
def servers(target: RouterTarget, as_json: bool) -> None:
    """List the servers of the cluster."""
    found = target.get_json(SERVERS_PATH)
    if as_json:
        print_json(found)
    else:
        print_lines(server_lines(found["servers"], verbose=True))


@cluster.command()
@click.argument("path")
@click.option("--name", help="Configuration of the dataset.")
@click.option("--split", help="Split of the dataset.")
@click.option("--revision", help="Branch, tag or commit.")
@click.option("--fingerprint", help="Only servers with this content.")
@click.option(
    "--exclude", metavar="ID,ID", help="Servers that just failed; the router suspects them."
)
@click.option("--show-token", is_flag=True, help="Print the server's token.")
@_router_options
def resolve(
    target: RouterTarget, path: str, as_json: bool, show_token: bool, **asked: str | None
) -> None:
    """Show which server a client that asks for PATH is sent to; exit code 2 if to none."""
    query = urlencode({"path": path, **{key: value for key, value in asked.items() if value}})
    try:
        found = target.get_json(f"{ROUTER_RESOLVE_PATH}?{query}")
    except FdssError as error:
        _fail("resolve", error, 2)
    token = found.pop("auth_token", "")
    found["has_auth_token"] = bool(token)
    if show_token:
        found["auth_token"] = token
    if as_json:
        print_json(found)
        return
    shown = token if show_token and token else "(set)" if token else "(no-auth)"
    print_lines(
        printable(line)
        for line in (
            f"server_id: {found['server_id']}",
            f"base_url:  {found['base_url']}",
            f"token:     {shown}",
        )
    )


@cluster.command()
@click.argument("server_id", metavar="ID")
@click.argument("question", type=click.Choice(list(QUESTIONS)))
@_router_options
def server(target: RouterTarget, server_id: str, question: str, as_json: bool) -> None:
    """Ask one server of the cluster, through the router, what the diagnostic commands ask."""
    try:
        found = target.get_json(proxy_path(quote(server_id, safe=""), QUESTIONS[question]))
    except FdssError as error:
        _fail(question, error, 1)
    if as_json:
        print_json(found)
    else:
        print_lines(answer_lines(question, found))


def _fail(what: str, error: FdssError, code: int) -> NoReturn:
    click.echo(printable(f"{what} failed: {error.message}"), err=True)
    if error.hint:
        click.echo(printable(f"hint: {error.hint}"), err=True)
    sys.exit(code)
