"""What the router tells of the cluster: servers and datasets, never a token."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fdss.errors import AuthenticationRequired

from .asking import token_of
from .conflicts import conflicts
from .knowledge import Knowledge, Server, Tally
from .offers import arguments_of, configs_of, number_of, splits_of, text_of

Json = dict[str, Any]


def inventory(knowledge: Knowledge, started_at_s: float) -> Json:
    """Return the answer of GET /api/cluster/dataset_inventory.

    Every router is its own master: the names are those of clusters that had only one.
    """
    servers = knowledge.servers()
    return {
        "is_master": True,
        "is_warm": knowledge.is_warm,
        "master_become_ts": started_at_s,
        "last_servers_collect_ts": knowledge.collected_at_s,
        "last_servers_collect_error": knowledge.collect_error,
        "last_health_pass_ts": _newest(server.health for server in servers),
        "last_dataset_pass_ts": _newest(server.refresh for server in servers),
        "servers": [_server(server, knowledge.now_s()) for server in servers],
        "departed": [_departed(server) for server in knowledge.departed()],
        "datasets": sorted(_datasets(servers), key=lambda d: (d["dataset_id"], str(d["name"]))),
        "conflicts": [conflict.as_json() for conflict in conflicts(servers)],
        "metrics": _metrics(servers, started_at_s),
    }


def server_list(knowledge: Knowledge) -> Json:
    """Return the answer of GET /api/cluster/dataset_servers."""
    now_s = knowledge.now_s()
    return {"servers": [_server(server, now_s) for server in knowledge.servers()]}


def _server(server: Server, now_s: float) -> Json:
    member = server.member
    return {
        "server_id": server.server_id,
        "base_url": member.base_url,
        "label": member.label or member.base_url,
        "source": member.source,
        "peer_node_id": None,
        "verify_tls": member.verify_tls,
        "loopback": member.is_loopback,
        "has_auth_token": bool(token_of(member)),
        "token": _token_state(server),
        "healthy": server.is_healthy is True,
        "latency_s": server.latency_s,
        "suspected": server.suspected_until_s > now_s,
        "policy": {
            "hf_cache_enabled": server.policy.hub,
            "allow_paths": server.policy.paths,
            "allow_downloads": server.policy.downloads,
        },
        "load": None
        if server.load is None
        else {"streams": server.load.streams, "bytes_per_s": server.load.bytes_per_s},
        "last_health_check": server.health.last_at_s,
        "last_health_error": server.health.last_error,
        "last_dataset_refresh": server.refresh.last_good_at_s,
        "last_dataset_error": server.refresh.last_error,
        "health_checks": _tally(server.health),
        "dataset_refreshes": _tally(server.refresh),
    }


def _token_state(server: Server) -> str:
    """Return ``set`` or ``none``; where it is not what is wanted, ``refused`` or ``missing``."""
    has_token = bool(token_of(server.member))
    if server.refresh.last_status == AuthenticationRequired.status:
        return "refused" if has_token else "missing"
    return "set" if has_token else "none"


def _departed(server: Server) -> Json:
    member = server.member
    return {
        "server_id": server.server_id,
        "base_url": member.base_url,
        "label": member.label or member.base_url,
        "source": member.source,
    }


def _tally(tally: Tally) -> Json:
    return {
        "total": tally.total,
        "failed": tally.failed,
        "consecutive_failed": tally.consecutive_failed,
    }


def _metrics(servers: list[Server], started_at_s: float) -> Json:
    return {
        "servers_total": len(servers),
        "servers_healthy": sum(server.is_healthy is True for server in servers),
        "health_polls_total": sum(server.health.total for server in servers),
        "health_polls_failed": sum(server.health.failed for server in servers),
        "dataset_polls_total": sum(server.refresh.total for server in servers),
        "dataset_polls_failed": sum(server.refresh.failed for server in servers),
        "master_age_s": time.time() - started_at_s,
    }


def _newest(tallies: Iterable[Tally]) -> float | None:
    return max((t.last_good_at_s for t in tallies if t.last_good_at_s is not None), default=None)


def _datasets(servers: list[Server]) -> Iterator[Json]:
    """Yield one entry a dataset that healthy servers have; it names all of them."""
    found: dict[tuple[str, str | None], Json] = {}
    for server in servers:
        if not server.is_healthy or server.offer is None:
            continue
        server_id = server.server_id
        for entry in _offered(server):
            key = entry["dataset_id"], entry["name"]
            known = found.setdefault(key, entry)
            # Its servers come one after another.
            if known["server_ids"][-1:] != [server_id]:
                known["server_ids"].append(server_id)
            if known["meta_hashes"] != entry["meta_hashes"]:
                known["meta_hashes"] = sorted({*known["meta_hashes"], *entry["meta_hashes"]})
    yield from found.values()


def _offered(server: Server) -> Iterator[Json]:
    offer = server.offer
    assert offer is not None
    for path, entry in offer.local.items():
        meta_hash = text_of(entry.get("meta_hash"))
        hashes = [] if meta_hash is None else [meta_hash]
        columns = entry.get("features")
        yield _dataset(path, None, "local", entry, hashes) | {
            "column_names": list(columns) if isinstance(columns, Mapping) else None
        }
    for entry in offer.cached.values():
        for config in configs_of(entry):
            yield _dataset(entry["repo"], config["config"], "hf", config, [])
    for entry in offer.loaded:
        arguments = arguments_of(entry)
        if arguments is not None and entry.get("source") == "path":
            length = number_of(entry.get("length"))
            yield _dataset(arguments.path, arguments.name, "path", {}, []) | {"length": length}


def _dataset(
    path: str, name: str | None, source: str, told: Mapping[str, Any], hashes: list[str]
) -> Json:
    rows = splits_of(told)
    counted = [count for count in rows.values() if count is not None]
    return {
        "dataset_id": path,
        "name": name,
        "source": source,
        "load_args": {"path": path, **({"name": name} if name else {})},
        "length": number_of(sum(counted)) if len(counted) == len(rows) and rows else None,
        "splits": rows,
        "column_names": None,
        "size_bytes": number_of(told.get("size_bytes")),
        "meta_hashes": hashes,
        "server_ids": [],
    }
