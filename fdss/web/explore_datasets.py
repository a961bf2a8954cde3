"""What a server has, as lists to choose from: local datasets, its cache, what it has open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fdss.arguments import LoadArguments
from fdss.router.offers import Offer, arguments_of

from .explore_links import Place, is_sound, server_url

MOST_LISTED = 100
MOST_SPLITS = 12
SOURCES = {"local": "Local", "cache": "HF cache", "open": "Open"}


@dataclass(frozen=True)
class Split:
    """A split of a dataset of a server."""

    server_id: str
    arguments: LoadArguments
    rows: int | None

    @property
    def name(self) -> str:
        """Return its name."""
        return self.arguments.split

    @property
    def url(self) -> str:
        """Return where its rows are."""
        return Place(self.server_id, self.arguments).rows_url()


@dataclass(frozen=True)
class Listed:
    """A dataset, or a configuration of one.

    Attributes:
        path: What it is loaded as.
        name: Its configuration; empty if it has none.
        note: What else is told.
    """

    path: str
    name: str
    splits: tuple[Split, ...]
    size_bytes: int | None = None
    note: str = ""

    @property
    def shown_splits(self) -> tuple[Split, ...]:
        """Return those that stand open."""
        return self.splits[:MOST_SPLITS]

    @property
    def folded_splits(self) -> tuple[Split, ...]:
        """Return the others."""
        return self.splits[MOST_SPLITS:]


@dataclass(frozen=True)
class Listing:
    """A page of one list of a server.

    Attributes:
        source: Which list.
        counts: Entries by list, of those that match.
        total: Entries of this one.
        number: Of the page, from 1.
        pages: How many there are.
    """

    server_id: str
    source: str
    query: str
    entries: tuple[Listed, ...]
    counts: Mapping[str, int]
    number: int

    @property
    def total(self) -> int:
        """Return the entries of this list that match."""
        return self.counts[self.source]

    @property
    def pages(self) -> int:
        """Return how many pages this list has, 1 or more."""
        return max(-(-self.total // MOST_LISTED), 1)

    def url(self, source: str | None = None, number: int = 1) -> str:
        """Return the address of another page or list of the same search."""
        told: dict[str, Any] = {"source": source or self.source}
        if self.query:
            told["q"] = self.query
        if number > 1:
            told["page"] = number
        return server_url(self.server_id, **told)


def listing(server_id: str, offer: Offer, source: str, query: str, number: int) -> Listing:
    """Return a page of what a server has; what no address of ours can name is left out.

    Args:
        source: One of ``SOURCES``; any other stands for the first that is not empty.
        query: What paths or configurations contain; empty for all.
        number: Of the page; one past the end stands for the last.
    """
    found = {
        kind: [entry for entry in entries if _matches(entry, query)]
        for kind, entries in _entries(server_id, offer).items()
    }
    if source not in found:
        source = next((kind for kind, entries in found.items() if entries), "local")
    chosen = found[source]
    last = max(-(-len(chosen) // MOST_LISTED), 1)
    number = min(max(number, 1), last)
    begin = (number - 1) * MOST_LISTED
    return Listing(
        server_id,
        source,
        query,
        tuple(chosen[begin : begin + MOST_LISTED]),
        {kind: len(entries) for kind, entries in found.items()},
        number,
    )


def siblings(server_id: str, offer: Offer | None, arguments: LoadArguments) -> tuple[Split, ...]:
    """Return the splits of the dataset that some arguments name, as far as they are known."""
    if offer is None or arguments.revision is not None:
        return ()
    path, name = arguments.path, arguments.name
    told: Mapping[str, Any] = offer.local.get(path, {})
    if not told:
        configs = _objects(offer.cached.get(path.lower(), {}).get("configs"))
        told = next((config for config in configs if config.get("config") == name), {})
    return _listed(server_id, path, name, told, "").splits


def _entries(server_id: str, offer: Offer) -> dict[str, list[Listed]]:
    return {
        kind: sorted(filter(_is_sound, entries(server_id, offer)), key=_order)
        for kind, entries in (("local", _local), ("cache", _cached), ("open", _open))
    }


def _order(entry: Listed) -> tuple[str, str, str]:
    return entry.path.casefold(), entry.path, entry.name


def _is_sound(entry: Listed) -> bool:
    return is_sound(entry.path) and is_sound(entry.name) and is_sound(entry.note)


def _matches(entry: Listed, query: str) -> bool:
    return query.casefold() in f"{entry.path} {entry.name}".casefold()


def _local(server_id: str, offer: Offer) -> Iterator[Listed]:
    for path, told in offer.local.items():
        layout = told.get("layout")
        note = "" if layout in ("dataset", "dataset_dict") else "nothing that can be shown"
        if layout == "missing":
            note = "not there"
        yield _listed(server_id, path, None, told, note)


def _cached(server_id: str, offer: Offer) -> Iterator[Listed]:
    for told in offer.cached.values():
        for config in _objects(told.get("configs")):
            name, version = config.get("config"), config.get("version")
            yield _listed(
                server_id,
                told["repo"],
                name if isinstance(name, str) else None,
                config,
                f"version {version}" if isinstance(version, str) and version else "",
            )


def _open(server_id: str, offer: Offer) -> Iterator[Listed]:
    for told in offer.loaded:
        arguments = arguments_of(told)
        # Data files are a long story for an address.
        if arguments is None or arguments.data_files is not None or not is_sound(arguments.split):
            continue
        split = _split(server_id, arguments, told.get("length"))
        note = f"revision {arguments.revision}" if arguments.revision else ""
        yield Listed(arguments.path, arguments.name or "", (split,), None, note)


def _listed(
    server_id: str, path: str, name: str | None, told: Mapping[str, Any], note: str
) -> Listed:
    splits = tuple(
        _split(server_id, LoadArguments(path, name, split=told_split["name"]), told_split)
        for told_split in _objects(told.get("splits"))
        if isinstance(told_split.get("name"), str) and is_sound(told_split["name"] or "\n")
    )
    size = told.get("size_bytes")
    return Listed(path, name or "", splits, size if type(size) is int else None, note)


def _split(server_id: str, arguments: LoadArguments, told: Any) -> Split:
    rows = told.get("num_examples") if isinstance(told, Mapping) else told
    known = rows if type(rows) is int and rows >= 0 else None
    return Split(server_id, arguments, known)


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
