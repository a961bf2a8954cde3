"""One server: how it is, and what it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, Response

from fdss.router.offers import configs_of, number_of, splits_of, text_of

from .pages import go_to, render
from .tables import Column, Row, Table

if TYPE_CHECKING:
    from fdss.router.offers import Offer
    from fdss.router.router import Router

_NAME = Column("name", "Dataset", lambda row: (row["path"].lower(), row["name"] or ""))
_SPLITS = Column("splits", "Splits")
_ROWS = Column("rows", "Rows", lambda row: row["rows"], is_number=True)
_SIZE = Column("size", "Size", lambda row: row["size_bytes"], is_number=True)

CACHE = Table(
    "cache",
    (_NAME, _SPLITS, _ROWS, _SIZE),
    lambda row: (row["path"], row["name"] or "", *row["splits"]),
    "name",
)
LOCALS = Table(
    "local", (_NAME, _SPLITS, _ROWS, _SIZE), lambda row: (row["path"], *row["splits"]), "name"
)
LOADED = Table(
    "loaded",
    (
        _NAME,
        Column("split", "Split", lambda row: row["split"] or ""),
        Column("rows", "Rows", lambda row: row["rows"], is_number=True),
        Column("handle", "Handle", lambda row: row["handle"]),
    ),
    lambda row: (row["path"], row["name"] or "", row["split"] or "", row["handle"]),
    "name",
)


def server_blueprint(router: Router) -> Blueprint:
    """Return the page of one server."""
    blueprint = Blueprint("server", __name__)

    @blueprint.get("/servers/<server_id>")
    def show(server_id: str) -> Response:
        member = router.member(server_id)
        known = router.knowledge.get(server_id)
        offer = known.offer if known else None
        cached = list(_cached(offer)) if offer else []
        return render(
            "server.html",
            server=_told(router, server_id),
            server_id=server_id,
            label=member.label or member.base_url,
            base_url=member.base_url,
            has_offer=offer is not None,
            sizes=_shares(cached),
            explore_link=explore_link,
            listings={
                "cache": CACHE.listing(cached),
                "local": LOCALS.listing(list(_local(offer)) if offer else []),
                "loaded": LOADED.listing(list(_loaded(offer)) if offer else []),
            },
        )

    @blueprint.post("/servers/<server_id>/refresh")
    def refresh(server_id: str) -> Response:
        router.member(server_id)
        router.refresh()
        return go_to(f"/servers/{server_id}")

    return blueprint


def explore_link(server_id: str, path: str, name: str | None, split: str | None) -> str:
    """Return the address of the rows of a dataset."""
    named = {"path": path, "name": name, "split": split}
    told = urlencode({key: value for key, value in named.items() if value})
    return f"/explore/{server_id}/rows?{told}"


def _told(router: Router, server_id: str) -> Row | None:
    """Return what the list says of a server; None if it was added a moment ago."""
    servers = router.server_list()["servers"]
    return next((server for server in servers if server["server_id"] == server_id), None)


def _cached(offer: Offer) -> Iterator[Row]:
    for entry in offer.cached.values():
        for config in configs_of(entry):
            yield _dataset(entry["repo"], config["config"], config)


def _local(offer: Offer) -> Iterator[Row]:
    for path, entry in offer.local.items():
        yield _dataset(path, None, entry)


def _loaded(offer: Offer) -> Iterator[Row]:
    for entry in offer.loaded:
        told = entry.get("load_args")
        arguments: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        yield {
            "handle": entry["handle"],
            "path": text_of(arguments.get("path")) or "?",
            "name": text_of(arguments.get("name")),
            "split": text_of(arguments.get("split")),
            "rows": number_of(entry.get("length")),
            "source": text_of(entry.get("source")),
        }


def _dataset(path: str, name: Any, told: Mapping[str, Any]) -> Row:
    splits = splits_of(told)
    counts = [count for count in splits.values() if count is not None]
    return {
        "path": path,
        "name": text_of(name),
        "splits": splits,
        "rows": sum(counts) if counts and len(counts) == len(splits) else None,
        "size_bytes": number_of(told.get("size_bytes")),
    }


def _shares(rows: list[Row]) -> dict[str, Any]:
    """Return the sizes of the largest datasets, and of all."""
    largest = sorted((row for row in rows if row["size_bytes"]), key=lambda row: -row["size_bytes"])
    total = sum(row["size_bytes"] for row in largest)
    parts, begin = [], 0.0
    for row in largest[:6]:
        width = 100 * row["size_bytes"] / total
        parts.append({"row": row, "begin": begin, "width": width})
        begin += width
    most = largest[0]["size_bytes"] if largest else 0
    return {"total": total, "most": most, "parts": parts, "others": len(largest) - len(parts)}
