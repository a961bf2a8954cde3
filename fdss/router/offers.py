"""What one dataset server offers, read from its own answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter
from fdss.wire.names import MAX_COUNT

#: A name that is longer is left out, with what it names.
MOST_CHARACTERS = 1_000
#: Entries of a list that are heard of.
MOST_ENTRIES = 50_000

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Policy:
    """What a server may load.

    Attributes:
        hub: Datasets by Hub id.
        paths: Datasets by filesystem path.
        downloads: Hub datasets that it has not cached.
    """

    hub: bool = False
    paths: bool = False
    downloads: bool = False

    @classmethod
    def from_health(cls, health: Json) -> Policy:
        """Return the policy that an answer of /v1/health tells; what is missing is not allowed."""
        told = _object(health.get("policy"))
        hub = told.get("hf_cache_enabled") is True
        return cls(
            hub=hub,
            paths=told.get("allow_paths") is True,
            downloads=hub and told.get("allow_downloads") is True,
        )


@dataclass(frozen=True)
class Load:
    """How busy a server is.

    Attributes:
        streams: Responses with rows under way.
        bytes_per_s: Sent lately.
    """

    streams: float
    bytes_per_s: float

    @classmethod
    def from_health(cls, health: Json) -> Load | None:
        """Return the load that an answer of /v1/health tells; None if it tells none."""
        told = _object(health.get("load"))
        streams, rate = told.get("streams"), told.get("bytes_per_s")
        if not _is_count(streams) or not _is_count(rate):
            return None
        return cls(float(streams), float(rate))


@dataclass(frozen=True)
class Offer:
    """What a server said that it has.

    Attributes:
        local: Its description of each named local dataset, by ``local/<name>``.
        cached: Its description of each cached Hub dataset, by Hub id in lower case.
        loaded: Its handles: what each one is.
        fingerprints: Content by the handle of its load arguments.
    """

    local: Mapping[str, Json] = field(default_factory=dict)
    cached: Mapping[str, Json] = field(default_factory=dict)
    loaded: tuple[Json, ...] = ()
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_answers(cls, local: Json, cache: Json, handles: Json) -> Offer:
        """Return what /v1/local, /v1/cache/hf and /v1/datasets tell; odd entries are left out."""
        named = {f"local/{entry['name']}": entry for entry in _named(local.get("local"), "name")}
        cached = {entry["repo"].lower(): entry for entry in _named(cache.get("datasets"), "repo")}
        loaded = tuple(_named(handles.get("handles"), "handle"))
        return cls(named, cached, loaded, dict(_fingerprints(named, loaded)))

    def has_local_split(self, path: str, split: str) -> bool:
        """Return whether a named local dataset has a split, or may have."""
        return _has_split(self.local.get(path, {}), split)

    def has_cached(self, path: str, name: str | None, split: str | None = None) -> bool:
        """Return whether a Hub dataset is cached: a configuration, and a split of it if told."""
        told = self.cached.get(path.lower(), {})
        return any(
            name in (None, config["config"]) and (split is None or _has_split(config, split))
            for config in configs_of(told)
        )

    def has_loaded(self, handle: str) -> bool:
        """Return whether a handle is open."""
        return any(entry["handle"] == handle for entry in self.loaded)


def _fingerprints(local: Mapping[str, Json], loaded: tuple[Json, ...]) -> Iterator[tuple[str, str]]:
    for path, entry in local.items():
        for split in _named(entry.get("splits"), "name"):
            fingerprint = text_of(split.get("fingerprint"))
            if fingerprint is not None:
                yield LoadArguments(path, split=split["name"]).handle, fingerprint
    for entry in loaded:
        fingerprint = text_of(entry.get("fingerprint"))
        if fingerprint is not None:
            yield entry["handle"], fingerprint


def _has_split(described: Json, split: str) -> bool:
    names = {entry["name"] for entry in _named(described.get("splits"), "name")}
    # A server that tells no splits may have it; so may one for a slice or a sum of splits.
    return not names or split in names or not split.isidentifier()


def arguments_of(entry: Json) -> LoadArguments | None:
    """Return the load arguments of a handle that a server told; None if they are malformed."""
    try:
        told = LoadArguments.from_json(dict(_object(entry.get("load_args"))))
    except BadParameter:
        return None
    return told if all(map(_is_name, (told.path, told.name or "", told.split))) else None


def configs_of(entry: Json) -> list[dict[str, Any]]:
    """Return the configurations of a cached dataset that a server told; odd ones are left out."""
    return _named(entry.get("configs"), "config")


def splits_of(described: Json) -> dict[str, int | None]:
    """Return the rows of each split that a server told; None for a number that is none."""
    splits = _named(described.get("splits"), "name")
    return {split["name"]: number_of(split.get("num_examples")) for split in splits}


def text_of(value: Any) -> str | None:
    """Return one short line that a server told; None for everything else, and for an empty one."""
    return value if value and _is_name(value) else None


def number_of(value: Any) -> int | None:
    """Return a number that a server told, 0 to ``MAX_COUNT``; None for everything else."""
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _named(entries: Any, field_name: str) -> list[dict[str, Any]]:
    """Return the objects in a list that have a name: one short line that can be seen."""
    found = entries[:MOST_ENTRIES] if isinstance(entries, list) else []
    return [entry for entry in found if isinstance(entry, dict) and _is_name(entry.get(field_name))]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.isprintable()


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _is_count(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
