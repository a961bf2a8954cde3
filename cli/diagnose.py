"""Commands that ask a server about itself: status, list, cache, local."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import click

from fdss import tokens
from fdss.client.session import ServerSession
from fdss.errors import AuthenticationRequired
from fdss.wire.names import (
    AUTH_STATUS_PATH,
    DATASETS_PATH,
    HEALTH_PATH,
    HUB_CACHE_PATH,
    LOCAL_PATH,
)

from .output import count, print_json, print_lines, printable, size, table
from .target import server_options, server_url

Json = dict[str, Any]

_AUTH_WORDS = {
    "none-required": "no token required",
    "accepted": "token required, yours is accepted",
    "refused": "token required, yours is REFUSED",
    "missing": "token required, none found",
}


@click.command()
@server_options
def status(given_url: str | None, token: str | None, as_json: bool) -> None:
    """Show a server's health, whether your token opens it, and its policy."""
    url = server_url(given_url)
    with closing(ServerSession(url, token=token)) as session:
        health = session.get_json(HEALTH_PATH)
        required = bool(session.get_json(AUTH_STATUS_PATH)["auth_required"])
        found = tokens.find(url, token) is not None
        refusal = _refusal(session) if required and found else None
    state = _token_state(required, found, refusal)
    if as_json:
        auth = {"auth_required": required, "token": state}
        print_json({**health, "auth": auth, "server": url})
    else:
        print_lines(_status_lines(health, state))
    if refusal is not None:
        raise refusal


@click.command(name="list")
@server_options
def list_handles(given_url: str | None, token: str | None, as_json: bool) -> None:
    """List the datasets a server has loaded."""
    document = _ask(given_url, token, DATASETS_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_handle_lines(document["handles"]))


@click.command()
@server_options
def cache(given_url: str | None, token: str | None, as_json: bool) -> None:
    """List the HuggingFace datasets in a server's cache."""
    document = _ask(given_url, token, HUB_CACHE_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_cache_lines(document))


@click.command()
@server_options
def local(given_url: str | None, token: str | None, as_json: bool) -> None:
    """List the datasets a server offers as local/NAME."""
    document = _ask(given_url, token, LOCAL_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_local_lines(document["local"]))


def _ask(given_url: str | None, token: str | None, path: str) -> Json:
    with closing(ServerSession(server_url(given_url), token=token)) as session:
        return session.get_json(path)


def _refusal(session: ServerSession) -> AuthenticationRequired | None:
    """Return the error a gated question is answered with, if it is about the token."""
    try:
        session.get_json(DATASETS_PATH)
    except AuthenticationRequired as refusal:
        return refusal
    return None


def _token_state(required: bool, found: bool, refusal: AuthenticationRequired | None) -> str:
    if not required:
        return "none-required"
    if not found:
        return "missing"
    return "accepted" if refusal is None else "refused"


def _status_lines(health: Json, state: str) -> Iterator[str]:
    yield printable(f"service: {health['service']}  version: {health['version']}")
    yield printable(f"status:  {health['status']}")
    yield f"auth:    {_AUTH_WORDS[state]}"
    yield "policy:"
    policy = health["policy"]
    width = max(map(len, policy), default=0) + 2
    for name, value in policy.items():
        yield "  " + printable(f"{name}:".ljust(width) + str(value))


def _handle_lines(handles: list[Json]) -> Iterator[str]:
    if not handles:
        yield "(no handles loaded)"
        return
    rows = [
        (
            printable(entry["handle"]),
            count(entry["length"]).rjust(10),
            printable(entry["source"]),
            printable(_compact(entry["load_args"])),
        )
        for entry in handles
    ]
    yield from table(("HANDLE", "LENGTH", "SOURCE", "ARGS"), rows, right="LENGTH")


def _compact(document: Json) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _cache_lines(document: Json) -> Iterator[str]:
    found = document["datasets"]
    root = document.get("cache_root")
    yield f"cache_root: {printable(root) if root else '(hidden, see --show-paths)'}"
    yield f"datasets:   {len(found)}"
    yield ""
    if not found:
        yield "(cache is empty or unreadable)"
    for entry in found:
        yield f"- {printable(entry['repo'])} ({size(entry['size_bytes'])})"
        for prepared in entry["configs"]:
            name = printable(f"{prepared['config']} @ {prepared['version']}")
            yield f"    {name}  -- {_splits(prepared['splits']) or '(no splits info)'}"


def _local_lines(entries: list[Json]) -> Iterator[str]:
    if not entries:
        yield "(no local mappings configured)"
        return
    shows_paths = any(entry.get("path") for entry in entries)
    rows = [
        (
            "local/" + printable(entry["name"]),
            *([printable(entry.get("path") or "")] if shows_paths else []),
            size(entry.get("size_bytes")),
            _splits(entry.get("splits") or []) or "(no splits info)",
        )
        for entry in entries
    ]
    header = ("NAME", *(["PATH"] if shows_paths else []), "SIZE", "SPLITS")
    yield from table(header, rows, right="SIZE")


def _splits(splits: list[Json]) -> str:
    return ", ".join(
        printable(split["name"])
        + ("" if split.get("num_examples") is None else f"={count(split['num_examples'])}")
        for split in splits
    )
