"""The router's API as one table; ``GET /v1/openapi.json`` is made from it."""

from __future__ import annotations

from functools import cache
from typing import Any

from fdss.errors import NobodyServes
from fdss.openapi import Endpoint, document
from fdss.wire import names

from . import schemas
from .names import (
    BASE_PROXY_PATH,
    INVENTORY_PATH,
    REFRESH_PATH,
    REGISTRY_PATH,
    SERVERS_PATH,
    SERVICE,
    bundle_path,
    entry_path,
    proxy_path,
)

Json = dict[str, Any]

#: Where another server is asked, which may fail in its own ways.
ASKS = (404, 502)


def _asked(path: str, server: Json) -> tuple[Endpoint, ...]:
    """Return the endpoints that ask one server, which a parameter names."""
    return (
        Endpoint(
            "GET",
            f"{path}/{{question}}",
            "What a server answers itself",
            "Answer",
            refusals=ASKS,
            parameters=(schemas.QUESTION, server),
        ),
        Endpoint(
            "GET",
            f"{path}/length",
            "The number of rows of a dataset of a server",
            "Answer",
            refusals=ASKS,
            parameters=(server, schemas.HANDLE),
        ),
        Endpoint(
            "GET",
            f"{path}/iter",
            "Some rows of a dataset of a server",
            "Rows",
            refusals=ASKS,
            parameters=(server, *schemas.ROWS),
        ),
        Endpoint(
            "POST",
            f"{path}/load",
            "Let a server open a dataset",
            "Answer",
            refusals=(*ASKS, 415),
            parameters=(server,),
            body="Load",
        ),
    )


ENDPOINTS = (
    Endpoint("GET", names.HEALTH_PATH, "What the router is", "Health", is_open=True),
    Endpoint(
        "GET", names.AUTH_STATUS_PATH, "Whether a token is wanted", "AuthStatus", is_open=True
    ),
    Endpoint("GET", names.OPENAPI_PATH, "This description", "Description"),
    Endpoint(
        "GET",
        names.READY_PATH,
        "Whether requests should be sent here, and why not",
        "Ready",
        unready="NotReady",
    ),
    Endpoint(
        "GET", names.METRICS_PATH, "What the router counted, for Prometheus", "", text=names.METRICS
    ),
    Endpoint(
        "GET",
        names.ROUTER_RESOLVE_PATH,
        "The server to read a dataset from, and its token",
        "Resolved",
        refusals=(NobodyServes.status,),
        parameters=schemas.RESOLVE,
    ),
    Endpoint("GET", INVENTORY_PATH, "Servers and datasets of the cluster", "Inventory"),
    Endpoint("GET", SERVERS_PATH, "Servers of the cluster", "Servers"),
    Endpoint("POST", REFRESH_PATH, "Ask every server again, soon", "", is_empty=True),
    Endpoint(
        "POST",
        bundle_path("{server_id}"),
        "Address and token of a server as one line: a credential",
        "Bundle",
        refusals=(404,),
        parameters=(schemas.SERVER_ID,),
    ),
    Endpoint("GET", REGISTRY_PATH, "The registry, without tokens", "Registered", refusals=(500,)),
    Endpoint(
        "POST",
        REGISTRY_PATH,
        "Add a server to the registry, or replace it",
        "Entry",
        refusals=(404, 415, 500),
        body="NewEntry",
    ),
    Endpoint(
        "DELETE",
        entry_path("{entry_id}"),
        "Remove a server from the registry",
        "Removed",
        refusals=(404, 500),
        parameters=(schemas.ENTRY_ID,),
    ),
    *_asked(proxy_path("{server_id}", "").rstrip("/"), schemas.SERVER_ID),
    *_asked(BASE_PROXY_PATH, schemas.BASE),
)


@cache
def description() -> Json:
    """Return the OpenAPI 3.1 document of the router's API, the same to everybody."""
    return document(SERVICE, ENDPOINTS, schemas.SCHEMAS)
