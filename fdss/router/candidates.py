"""Which servers can serve a dataset, and which may once they are back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fdss.arguments import LoadArguments
from fdss.policy import LOCAL_PREFIX, PACKAGED_BUILDERS

from .knowledge import Knowledge, Server
from .offers import arguments_of

#: How long a server of which nothing was ever heard may turn out to have any dataset.
UNHEARD_S = 600.0
#: The rank of servers that would first have to download a dataset.
DOWNLOADING = 2

_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]")


@dataclass(frozen=True)
class Question:
    """What a client wants to read.

    Attributes:
        fingerprint: Of the rows that its job reads; None if any content will do.
        excluded: Ids of servers that have just failed it.
        client: What tells clients apart: where the question came from.
        is_near: Whether it is on the router's own machine.
    """

    arguments: LoadArguments
    fingerprint: str | None = None
    excluded: frozenset[str] = frozenset()
    client: str = ""
    is_near: bool = True


def ranked(servers: Iterable[Server], question: Question) -> list[list[Server]]:
    """Return the healthy servers that can serve a dataset, the better ones in an earlier list."""
    lists: list[list[Server]] = [[], [], []]
    for server in servers:
        if server.is_healthy and _is_reachable(server, question):
            rank = _rank(server, question.arguments)
            if rank is not None:
                lists[rank].append(server)
    return lists


def awaited(knowledge: Knowledge, question: Question) -> list[Server]:
    """Return the servers that may yet serve a dataset that nobody serves now.

    Those that are down and had it, or could get it, as long as they are members; those that left
    lately and had it; and for a while those of which nothing was ever heard.
    """
    return [
        server
        for server in [*knowledge.servers(), *knowledge.departed()]
        if _is_reachable(server, question) and _is_awaited(server, knowledge, question)
    ]


def _is_awaited(server: Server, knowledge: Knowledge, question: Question) -> bool:
    if server.offer is None:
        return knowledge.now_s() - server.since_s < UNHEARD_S
    is_up = server.is_healthy and knowledge.get(server.server_id) is not None
    return not is_up and _rank(server, question.arguments) is not None


def _is_reachable(server: Server, question: Question) -> bool:
    return question.is_near or not server.member.is_loopback


def _rank(server: Server, arguments: LoadArguments) -> int | None:
    """Return 0 if a server has a dataset, 1 without that split, 2 if it may download it."""
    offer, path = server.offer, arguments.path
    if offer is None:
        return None
    if path.startswith(LOCAL_PREFIX):
        if path not in offer.local:
            return None
        return 0 if offer.has_local_split(path, arguments.split) else 1
    if _ABSOLUTE.match(path) or path.lower() in PACKAGED_BUILDERS:
        return 0 if server.policy.paths else None
    if not server.policy.hub:
        return None
    if offer.has_loaded(arguments.handle):
        return 0
    if offer.has_cached(path, arguments.name):
        return 0 if offer.has_cached(path, arguments.name, arguments.split) else 1
    return DOWNLOADING if server.policy.downloads else None


def contents_of(server: Server, arguments: LoadArguments) -> set[str]:
    """Return every content that a server is known to have for the same files and split."""
    if server.offer is None:
        return set()
    handles = {
        entry["handle"]
        for entry in server.offer.loaded
        if (loaded := arguments_of(entry)) is not None
        and _same_rows(loaded) == _same_rows(arguments)
    }
    return {found for handle in handles if (found := server.offer.fingerprints.get(handle))}


def _same_rows(arguments: LoadArguments) -> LoadArguments:
    # A configuration and a revision have several names.
    return replace(arguments, name=None, revision=None)
