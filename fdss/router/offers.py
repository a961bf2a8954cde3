"""What one dataset server offers, read from its own answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter

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
        configs = _named(told.get("configs"), "config")
        return any(
            name in (None, config["config"]) and (split is None or _has_split(config, split))
            for config in configs
        )

    def has_loaded(self, handle: str) -> bool:
        """Return whether a handle is open."""
        return any(entry["handle"] == handle for entry in self.loaded)


def _fingerprints(local: Mapping[str, Json], loaded: tuple[Json, ...]) -> Iterator[tuple[str, str]]:
    for path, entry in local.items():
        for split in _named(entry.get("splits"), "name"):
            fingerprint = split.get("fingerprint")
            if isinstance(fingerprint, str) and fingerprint:
                yield LoadArguments(path, split=split["name"]).handle, fingerprint
    for entry in loaded:
        fingerprint = entry.get("fingerprint")
        if isinstance(fingerprint, str) and fingerprint:
            yield entry["handle"], fingerprint


def _has_split(described: Json, split: str) -> bool:
    names = {entry["name"] for entry in _named(described.get("splits"), "name")}
    # A server that tells no splits may have it; so may one for a slice or a sum of splits.
    return not names or split in names or not split.isidentifier()


def arguments_of(entry: Json) -> LoadArguments | None:
    """Return the load arguments of a handle that a server told; None if they are malformed."""
    try:
        return LoadArguments.from_json(dict(_object(entry.get("load_args"))))
    except BadParameter:
        return None


def _named(entries: Any, field_name: str) -> list[dict[str, Any]]:
    """Return the objects in a list that have a text under a name."""
    found = entries if isinstance(entries, list) else []
    return [
        entry
        for entry in found
        if isinstance(entry, dict) and isinstance(entry.get(field_name), str)
    ]


def _object(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def _is_count(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
