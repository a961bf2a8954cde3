"""What ``fdss cluster`` prints for people."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from .diagnose import _cache_lines, _handle_lines, _local_lines
from .output import count, printable

Json = dict[str, Any]


def inventory_lines(found: Json, *, verbose: bool) -> Iterator[str]:
    """Yield the summary, the servers and the datasets of an inventory."""
    servers, datasets = found["servers"], found["datasets"]
    warm = "" if found.get("is_warm", True) else "  (warming up)"
    yield (
        f"is_master={found['is_master']} servers={len(servers)} datasets={len(datasets)} "
        f"last_pass={_age(found['last_dataset_pass_ts'])}{warm}"
    )
    if verbose:
        yield _metrics(found["metrics"])
    yield ""
    yield "SERVERS"
    yield from server_lines(servers, verbose=verbose)
    yield ""
    yield "DATASETS"
    if not datasets:
        yield "  (no datasets known)"
    for dataset in datasets:
        yield from _dataset_lines(dataset, verbose)


def server_lines(servers: list[Json], *, verbose: bool) -> Iterator[str]:
    """Yield a line a server; verbose, its ages, errors and counts below."""
    if not servers:
        yield "  (no servers known)"
    for server in servers:
        state = "ok" if server["healthy"] else "DOWN"
        if server.get("suspected"):
            state += " suspected"
        error = server["last_health_error"] or server["last_dataset_error"]
        peer = (server.get("peer_node_id") or "-")[:8]
        yield printable(
            f"  {server['server_id']:14} {server['base_url']:45} {server['source']:8} "
            f"peer={peer} {state}" + (f" err={error}" if error else "")
        )
        if verbose:
            yield printable(_server_details(server))


def conflict_lines(found: Json) -> Iterator[str]:
    """Yield a line a dataset that is not the same everywhere."""
    for conflict in found.get("conflicts", ()):
        contents = "; ".join(
            f"{content[:12]} on {', '.join(ids)}" for content, ids in conflict["contents"].items()
        )
        split = f" split {conflict['split']!r}" if conflict["split"] else ""
        yield printable(f"CONFLICT: {conflict['dataset_id']}{split} differs: {contents}")


def answer_lines(question: str, found: Json) -> Iterator[str]:
    """Yield what one server answered to ``status``, ``list``, ``cache`` or ``local``."""
    if question == "status":
        yield from _status_lines(found)
    elif question == "list":
        empty = "(no datasets loaded on this server)"
        yield from _handle_lines(found["handles"]) if found["handles"] else [empty]
    elif question == "cache":
        empty = "(HF cache empty or unreadable)"
        yield from _cache_lines(found) if found["datasets"] else [empty]
    else:
        empty = "(no local/<name> mappings registered)"
        yield from _local_lines(found["local"]) if found["local"] else [empty]


def _status_lines(health: Json) -> Iterator[str]:
    yield printable(f"service: {health['service']}  version: {health['version']}")
    yield printable(f"status:  {health['status']}")
    yield "policy:"
    policy = health.get("policy") or {}
    width = max(map(len, policy), default=0) + 2
    for name, value in policy.items():
        yield "  " + printable(f"{name}:".ljust(width) + str(value))


def _metrics(metrics: Json) -> str:
    return (
        f"healthy={metrics['servers_healthy']}/{metrics['servers_total']}  "
        f"polls(health)={metrics['health_polls_failed']}/{metrics['health_polls_total']} failed  "
        f"polls(datasets)={metrics['dataset_polls_failed']}/{metrics['dataset_polls_total']} "
        f"failed  master_age={metrics['master_age_s']:.0f}s"
    )


def _server_details(server: Json) -> str:
    health, refresh = server["health_checks"], server["dataset_refreshes"]
    load = server.get("load")
    shown = "unknown" if not load else f"{load['streams']:g} streams, {load['bytes_per_s']:g} B/s"
    return (
        f"      health {_age(server['last_health_check'])} ({_tally(health)})  "
        f"datasets {_age(server['last_dataset_refresh'])} ({_tally(refresh)})  "
        f"load {shown}  token {'set' if server['has_auth_token'] else 'none'}"
    )


def _tally(tally: Json) -> str:
    streak = f", streak {tally['consecutive_failed']}" if tally["consecutive_failed"] else ""
    return f"{tally['failed']}/{tally['total']} failed{streak}"


def _dataset_lines(dataset: Json, verbose: bool) -> Iterator[str]:
    name = f" [{dataset['name']}]" if dataset["name"] else ""
    identity = dataset["dataset_id"] + name
    hosts = _joined(dataset["server_ids"])
    length = f"len={count(dataset['length'])}"
    yield printable(f"  {identity:28} {dataset['source']:6} {length:14} hosts={hosts}")
    if verbose:
        arguments = json.dumps(dataset["load_args"], sort_keys=True, ensure_ascii=False)
        yield printable(f"      load_args={arguments}")
        if dataset["column_names"]:
            yield printable(f"      columns={_joined(dataset['column_names'])}")


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _age(at_s: float | None) -> str:
    return "never" if at_s is None else f"{max(0.0, time.time() - at_s):.0f}s ago"
