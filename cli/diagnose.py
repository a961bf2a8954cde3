"""Commands that ask a server about itself: status, list, cache, local."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from fdss.client.session import ServerSession
from fdss.errors import AuthenticationRequired, PageForeign
from fdss.wire.names import (
    AUTH_STATUS_PATH,
    DATASETS_PATH,
    HEALTH_PATH,
    HUB_CACHE_PATH,
    LOCAL_PATH,
)

from .output import count, print_json, print_lines, printable, size, table
from .target import Target, server_options

if TYPE_CHECKING:
    from .peer import Peer

Json = dict[str, Any]

_AUTH_WORDS = {
    "none-required": "no token required",
    "accepted": "token required, yours is accepted",
    "refused": "token required, yours is REFUSED",
    "missing": "token required, none found",
}


@click.command()
@server_options
def status(target: Target, as_json: bool) -> None:
    """Show a server's health, whether your token opens it, and its policy."""
    with closing(target.session()) as session:
        health = session.get_json(HEALTH_PATH)
        required = bool(session.get_json(AUTH_STATUS_PATH)["auth_required"])
        refusal = _refusal(session) if required and target.has_token else None
    peer = _peer(target)
    state = _token_state(required, target.has_token, refusal)
    if as_json:
        auth = {"auth_required": required, "token": state}
        shown = None if peer is None else peer.as_json()
        print_json({**health, "auth": auth, "server": target.url, "tls": shown})
    else:
        print_lines(_status_lines(health, state, peer))
    if refusal is not None:
        raise refusal


@click.command(name="list")
@server_options
def list_handles(target: Target, as_json: bool) -> None:
    """List the datasets a server has loaded."""
    document = _ask(target, DATASETS_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_told(target, document, "handles", _handle_lines))


@click.command()
@server_options
def cache(target: Target, as_json: bool) -> None:
    """List the HuggingFace datasets in a server's cache."""
    document = _ask(target, HUB_CACHE_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_told(target, document, "datasets", lambda _: _cache_lines(document)))


@click.command()
@server_options
def local(target: Target, as_json: bool) -> None:
    """List the datasets a server offers as local/NAME."""
    document = _ask(target, LOCAL_PATH)
    if as_json:
        print_json(document)
    else:
        print_lines(_told(target, document, "local", _local_lines))


def _ask(target: Target, path: str) -> Json:
    with closing(target.session()) as session:
        return session.get_json(path)


def _told(
    target: Target, document: Json, key: str, lines: Callable[[list[Json]], Iterator[str]]
) -> list[str]:
    """Return the lines that tell an answer; nothing is shown of one that is not a server's."""
    try:
        return list(lines(document[key]))
    except (TypeError, LookupError, AttributeError, ValueError) as exc:
        raise PageForeign(
            f"The answer of {target.url} is not that of a dataset server ({type(exc).__name__})."
        ) from exc


def _peer(target: Target) -> Peer | None:
    if not target.url.startswith("https:"):
        return None
    # Here, so that the commands do not wait for its import where nothing is encrypted.
    from .peer import peer_of

    return peer_of(target)


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


def _status_lines(health: Json, state: str, peer: Peer | None) -> Iterator[str]:
    yield printable(f"service: {health['service']}  version: {health['version']}")
    yield printable(f"status:  {health['status']}")
    yield f"auth:    {_AUTH_WORDS[state]}"
    if peer is not None:
        yield f"tls:     {peer.line()}"
    yield "policy:"
    policy = health["policy"]
    width = max(map(len, policy), default=0) + 2
    for name, value in policy.items():
        yield "  " + printable(f"{name}:".ljust(width) + str(value))
    for warning in [] if peer is None else peer.warnings():
        yield f"!! {warning}"


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
