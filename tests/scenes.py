"""What scripted dataset servers hold on pages of tests: a small cluster, and a large one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clusters import Peer

from fdss.wire.names import DATASETS_PATH, HEALTH_PATH, HUB_CACHE_PATH, LOCAL_PATH

Json = dict[str, Any]
Splits = Mapping[str, int]

MB, GB = 1 << 20, 1 << 30


def splits_of(counts: Splits) -> list[Json]:
    """Return splits as a server tells them."""
    return [{"name": name, "num_examples": rows} for name, rows in counts.items()]


def cached(repo: str, counts: Splits, size_bytes: int, config: str = "default") -> Json:
    """Return a dataset of the HF cache as a server tells it."""
    told = {"config": config, "version": "0.0.0", "size_bytes": size_bytes}
    configs = [{**told, "splits": splits_of(counts)}]
    return {"repo": repo, "configs": configs, "size_bytes": size_bytes}


def local(name: str, counts: Splits, size_bytes: int, meta_hash: str = "a" * 16) -> Json:
    """Return a named folder as a server tells it."""
    told = {"name": name, "size_bytes": size_bytes, "meta_hash": meta_hash, "features": {}}
    return {**told, "layout": "saved", "splits": splits_of(counts)}


def loaded(handle: str, path: str, split: str, length: int) -> Json:
    """Return a handle as a server tells it."""
    load_args = {"path": path, "split": split}
    return {"handle": handle, "length": length, "source": "hub", "load_args": load_args}


def holds(
    peer: Peer,
    cache: Iterable[Json] = (),
    locals_: Iterable[Json] = (),
    handles: Iterable[Json] = (),
) -> None:
    """Let a peer tell what it has."""
    peer.answers[HUB_CACHE_PATH] = {"datasets": list(cache)}
    peer.answers[LOCAL_PATH] = {"local": list(locals_)}
    peer.answers[DATASETS_PATH] = {"handles": list(handles)}


def is_busy(peer: Peer, streams: int, bytes_per_s: float) -> None:
    """Let a peer tell how busy it is."""
    peer.answers[HEALTH_PATH]["load"] = {"streams": streams, "bytes_per_s": bytes_per_s}


CACHE = (
    cached("HuggingFaceFW/fineweb-edu", {"train": 9_672_101}, 28 * GB, "sample-10BT"),
    cached("allenai/c4", {"train": 364_868_892, "validation": 364_608}, 19 * GB, "en"),
    cached("roneneldan/TinyStories", {"train": 2_119_719, "validation": 21_990}, 1900 * MB),
    cached(
        "Salesforce/wikitext",
        {"test": 4_358, "train": 1_801_350, "validation": 3_760},
        540 * MB,
        "wikitext-103-raw-v1",
    ),
    cached("mozilla-foundation/common_voice", {"train": 948_736, "test": 16_372}, 7 * GB, "en"),
    cached("uoft-cs/cifar10", {"train": 50_000, "test": 10_000}, 132 * MB, "plain_text"),
    cached("openai/gsm8k", {"train": 7_473, "test": 1_319}, 4 * MB, "main"),
    cached("stanfordnlp/imdb", {"train": 25_000, "test": 25_000, "unsupervised": 50_000}, 83 * MB),
)
LOCALS = (
    local("stories", {"train": 120_000, "validation": 2_000}, 610 * MB),
    local("instruct-mix", {"train": 1_450_322}, 5 * GB),
)
HANDLES = (
    loaded("b4c1a7d92e03f586", "HuggingFaceFW/fineweb-edu", "train", 9_672_101),
    loaded("07de5512ac9b4f31", "roneneldan/TinyStories", "train", 2_119_719),
    loaded("5f2290cd7e1ab864", "local/stories", "validation", 2_000),
)
