"""Named local datasets that are not the same everywhere."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fdss.arguments import LoadArguments

from .knowledge import Server
from .offers import splits_of, text_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conflict:
    """One name under which servers serve different rows.

    Attributes:
        path: ``local/<name>``.
        split: The split that differs; empty if the lists of columns, splits or row counts do.
        contents: Ids of the servers, by what they serve.
    """

    path: str
    split: str
    contents: Mapping[str, tuple[str, ...]]

    def as_json(self) -> dict[str, Any]:
        """Return the form it has in the inventory."""
        contents = {content: list(ids) for content, ids in self.contents.items()}
        return {"dataset_id": self.path, "split": self.split or None, "contents": contents}

    def __str__(self) -> str:
        shown = "; ".join(
            f"{content[:12]} on {', '.join(ids)}" for content, ids in self.contents.items()
        )
        split = f" split {self.split!r}" if self.split else ""
        return f"{self.path}{split} has {len(self.contents)} different contents: {shown}"


def conflicts(servers: Iterable[Server]) -> list[Conflict]:
    """Return every named local dataset whose servers differ, healthy or not."""
    known = list(servers)
    return [*_told(known), *_loaded(known)]


class Alarm:
    """Reports each conflict once, as loudly as a log can, and its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reported: dict[str, str] = {}

    def __len__(self) -> int:
        """Return how many there are now."""
        return len(self._reported)

    def look(self, servers: Iterable[Server]) -> None:
        """Report what is new and what is over."""
        found = {f"{c.path} {c.split}": str(c) for c in conflicts(servers)}
        with self._lock:
            before, self._reported = self._reported, found
        for name, text in found.items():
            if before.get(name) != text:
                logger.error(
                    "CONFLICT: %s. Jobs stay with the content that they began with; "
                    "give different datasets different names",
                    text,
                )
        for name in before.keys() - found.keys():
            logger.warning("the conflict of %s is over", name.strip())


def _told(servers: list[Server]) -> Iterator[Conflict]:
    """Yield what the descriptions tell before anything is loaded."""
    hashes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for server in servers:
        for path, entry in server.offer.local.items() if server.offer else ():
            meta_hash = text_of(entry.get("meta_hash"))
            if meta_hash is not None:
                hashes[path][f"meta {meta_hash}"].append(server.server_id)
    for path, found in sorted(hashes.items()):
        if len(found) > 1:
            yield Conflict(path, "", _sorted(found))


def _loaded(servers: list[Server]) -> Iterator[Conflict]:
    contents: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for server in servers:
        for path, split in _splits(server):
            fingerprint = server.fingerprint_of(_handle(path, split))
            if fingerprint is not None:
                contents[path, split][fingerprint].append(server.server_id)
    for (path, split), found in sorted(contents.items()):
        if len(found) > 1:
            yield Conflict(path, split, _sorted(found))


@lru_cache(maxsize=1 << 16)
def _handle(path: str, split: str) -> str:
    return LoadArguments(path, split=split).handle


def _splits(server: Server) -> Iterator[tuple[str, str]]:
    for path, entry in server.offer.local.items() if server.offer else ():
        for split in splits_of(entry):
            yield path, split


def _sorted(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Return what most servers have first."""
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return {content: tuple(ids) for content, ids in ordered}
