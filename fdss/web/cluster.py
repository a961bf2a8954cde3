"""The cluster as a whole: its nodes, its servers, its datasets, and what they differ in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, Response

from .pages import render
from .server import explore_link
from .servers import health_word
from .snapshots import Snapshot
from .tables import Column, Row, Table

if TYPE_CHECKING:
    from fdss.router.router import Router

MOST_CONFLICTS = 10
MOST_HOSTS = 3


def _load_of(key: str) -> Any:
    return lambda row: row["load"][key] if row["load"] else None


NODES = Table(
    "nodes",
    (
        Column("node", "Node", lambda row: row["node"]),
        Column("health", "Healthy servers", lambda row: row["healthy"] - row["servers"]),
        Column("streams", "Streams", lambda row: row["streams"], is_number=True),
        Column("rate", "Sent", lambda row: row["bytes_per_s"], is_number=True),
    ),
    lambda row: (row["node"],),
    "node",
    page_rows=10,
)
SERVERS = Table(
    "servers",
    (
        Column("label", "Server", lambda row: row["label"].lower()),
        Column("health", "Health", lambda row: (row["healthy"], row["label"].lower())),
        Column("checked", "Checked", lambda row: row["last_health_check"], is_number=True),
        Column("listed", "Listed", lambda row: row["last_dataset_refresh"], is_number=True),
        Column("streams", "Streams", _load_of("streams"), is_number=True),
        Column("rate", "Sent", _load_of("bytes_per_s"), is_number=True),
    ),
    lambda row: (row["label"], row["base_url"], health_word(row)),
    "health",
    page_rows=10,
)
DATASETS = Table(
    "sets",
    (
        Column("id", "Dataset", lambda row: (row["dataset_id"].lower(), row["name"] or "")),
        Column("source", "From", lambda row: row["source"]),
        Column("rows", "Rows", lambda row: row["length"], is_number=True),
        Column("size", "Size", lambda row: row["size_bytes"], is_number=True),
        Column("hosts", "On", lambda row: len(row["server_ids"]), is_number=True),
    ),
    lambda row: (row["dataset_id"], row["name"] or "", row["source"]),
    "id",
    page_rows=25,
)


def cluster_blueprint(router: Router) -> Blueprint:
    """Return the page of the cluster."""
    blueprint = Blueprint("cluster", __name__)
    snapshot = Snapshot(router.inventory)

    @blueprint.get("/cluster")
    def show() -> Response:
        known = snapshot.get()
        servers, nodes = known["servers"], nodes_of(known["servers"])
        return render(
            "cluster.html",
            known=known,
            labels={server["server_id"]: server["label"] for server in servers},
            sums=_sums(servers, nodes),
            conflicts=known["conflicts"][:MOST_CONFLICTS],
            in_conflict={conflict["dataset_id"] for conflict in known["conflicts"]},
            most_hosts=MOST_HOSTS,
            first_rows=_first_rows,
            listings={
                "nodes": NODES.listing(nodes),
                "servers": SERVERS.listing(servers),
                "sets": DATASETS.listing(known["datasets"]),
            },
        )

    return blueprint


def nodes_of(servers: Sequence[Row]) -> list[Row]:
    """Return the machines that servers run on, by the host in their URLs."""
    found: dict[str, list[Row]] = {}
    for server in servers:
        found.setdefault(urlsplit(server["base_url"]).hostname or "?", []).append(server)
    return [
        {
            "node": node,
            "servers": len(own),
            "healthy": sum(server["healthy"] for server in own),
            **_load(own),
        }
        for node, own in found.items()
    ]


def _load(servers: Sequence[Row]) -> dict[str, float]:
    loads = [server["load"] for server in servers if server["load"]]
    return {key: sum(load[key] for load in loads) for key in ("streams", "bytes_per_s")}


def _sums(servers: Sequence[Row], nodes: Sequence[Row]) -> Mapping[str, Any]:
    return {
        "healthy": sum(server["healthy"] for server in servers),
        "servers": len(servers),
        "nodes": len(nodes),
        **_load(servers),
    }


def _first_rows(dataset: Row) -> str:
    """Return the address of rows of a dataset, on the first server that has it."""
    split = next(iter(dataset["splits"]), None)
    return explore_link(dataset["server_ids"][0], dataset["dataset_id"], dataset["name"], split)
