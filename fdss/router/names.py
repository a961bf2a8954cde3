"""Paths, places and defaults of the router, for its server and its command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fdss import places
from fdss.errors import SettingError
from fdss.wire.names import ROUTER_PORT

SERVICE = "fdss-router"
DEFAULT_PORT = ROUTER_PORT
DEFAULT_CLUSTER = "default"

CLUSTER_PATH = "/api/cluster"
INVENTORY_PATH = f"{CLUSTER_PATH}/dataset_inventory"
SERVERS_PATH = f"{CLUSTER_PATH}/dataset_servers"
REFRESH_PATH = f"{SERVERS_PATH}/refresh"
PROXY_PATH = f"{CLUSTER_PATH}/dataset_server_proxy"
REGISTRY_PATH = "/api/dataset-servers/user"
BASE_PROXY_PATH = "/api/dataset-server/proxy"

REGISTRY = "registry"
MDNS = "mdns"
REDIS_SCHEMES = ("redis", "rediss", "unix")

_CLUSTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def registry_file() -> Path:
    """Return the file that lists the dataset servers an operator has added."""
    return places.router_folder() / "dataset_server_registry.json"


def default_config_file() -> Path:
    """Return the configuration file that is read when none is named."""
    return places.router_folder() / "config.yaml"


def check_cluster(name: str) -> None:
    """Refuse what is no name of a cluster.

    Raises:
        SettingError: It is none.
    """
    if not _CLUSTER.fullmatch(name):
        raise SettingError(
            f"Setting 'cluster' is no name: {name[:80]!r}.",
            hint="use letters, digits, '.', '_' and '-', at most 63",
        )


def check_membership(membership: str, kinds: Sequence[str]) -> None:
    """Refuse what is neither one of some kinds of membership nor the URL of a Redis.

    Raises:
        SettingError: It is neither.
    """
    if membership not in kinds and urlsplit(membership).scheme not in REDIS_SCHEMES:
        raise SettingError(
            f"Setting 'membership' is {', '.join(kinds)} or redis://HOST:PORT/DB; found "
            f"{shown_url(membership)!r}."
        )


def shown_url(url: str) -> str:
    """Return a URL without its credentials."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def proxy_path(server_id: str, question: str) -> str:
    """Return the path that puts a question to one server of the cluster."""
    return f"{PROXY_PATH}/{server_id}/{question}"


def bundle_path(server_id: str) -> str:
    """Return the path that gives the bundle of one server of the cluster."""
    return f"{SERVERS_PATH}/{server_id}/bundle"


def entry_path(entry_id: str) -> str:
    """Return the path of one entry of the registry."""
    return f"{REGISTRY_PATH}/{entry_id}"
