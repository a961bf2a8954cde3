"""The description of the router's API: it is true, and requests made from it do no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from clusters import FAST, Client, eventually
from fuzzing import TOKEN, Target, attack, or_one_of, serving

from fdss.arguments import LoadArguments
from fdss.bundles import Bundle
from fdss.config import ServerConfig
from fdss.gate import OPEN_PATHS
from fdss.openapi import Endpoint
from fdss.router.app import create_router_app
from fdss.router.config import RouterConfig
from fdss.router.membership import Member, server_id_of
from fdss.router.names import bundle_path, registry_file
from fdss.router.openapi import ENDPOINTS, description
from fdss.router.registry import Registry
from fdss.router.router import Router
from fdss.router.schemas import SCHEMAS
from fdss.router.serving import RouterServer
from fdss.wire.names import OPENAPI_PATH, ROUTER_RESOLVE_PATH

REQUESTS = 1000
#: Requests to one endpoint before the next has its turn: there are many endpoints.
RUN = 20
SERVER_TOKEN = "the-token-of-the-server-itself"
#: Where nobody listens, and where the router may be sent all the same.
NOBODY = "http://127.0.0.1:1"


def test_every_route_is_described_and_nothing_else(home: Path) -> None:
    """The table has exactly the methods and paths that programs are served."""
    app = create_router_app(Router([]), "token")
    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("web.")
        for method in (rule.methods or set()) - {"HEAD"}
    }

    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == served


def test_the_open_endpoints_are_those_of_the_gate() -> None:
    """What the table says to be open is what the gate lets through."""
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.is_open} <= OPEN_PATHS


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda found: f"{found.method} {found.path}")
def test_schemas_that_are_named_exist(endpoint: Endpoint) -> None:
    """Every answer and body has a schema."""
    assert {endpoint.answer, endpoint.body} - {""} <= set(SCHEMAS)


def test_every_schema_is_of_an_answer_or_a_body() -> None:
    """No schema is left over."""
    used = {name for endpoint in ENDPOINTS for name in (endpoint.answer, endpoint.body)}
    told = json.dumps(description()["paths"])

    assert {name for name in set(SCHEMAS) - used if f"schemas/{name}" not in told} == set()


def test_the_description_is_served_behind_the_gate(home: Path) -> None:
    """Who has the token gets the description, as it is in the table."""
    asked = create_router_app(Router([]), "token").test_client()

    answer = asked.get(OPENAPI_PATH, headers={"Authorization": "Bearer token"})

    assert answer.get_json() == json.loads(json.dumps(description()))
    assert asked.get(OPENAPI_PATH).status_code == 401


@pytest.mark.long
def test_many_requests_from_the_description_are_answered_as_described(
    home: Path, tmp_path: Path
) -> None:
    """No failure, no hang, no status or body that is not described, no token of a server."""
    with _routing(tmp_path) as target:
        found = attack(target, REQUESTS, run_=RUN)

    assert found.wrong == {}
    assert set(found.statuses) >= {200, 204, 400, 401, 404, 502}


@contextmanager
def _routing(folder: Path) -> Iterator[Target]:
    """Route to a server with two small datasets, and to two that are not there."""
    config = RouterConfig(ServerConfig(port=0, auth_token=TOKEN))
    with serving(folder, SERVER_TOKEN) as server, RouterServer(config, FAST) as router:
        registry = Registry(registry_file())
        registry.add(Member(server.url, SERVER_TOKEN))
        registry.add(Member(NOBODY, ""))
        entry = registry.add(Member("http://127.0.0.1:2")).id
        eventually(lambda: Client(router).knows(1))
        telling = {f"POST {bundle_path('{server_id}')}", f"GET {ROUTER_RESOLVE_PATH}"}
        yield Target(
            router.url,
            _with_what_is_there(server.url, entry),
            [TOKEN, str(folder), str(registry_file().parent)],
            {SERVER_TOKEN: telling},
        )


def _with_what_is_there(url: str, entry: str) -> dict[str, Any]:
    """Return the description, in which what is there is as likely as what is not."""
    told: dict[str, Any] = json.loads(json.dumps(description()))
    known: dict[str, list[str]] = {
        "server_id": [server_id_of(url), server_id_of(NOBODY), "0" * 12],
        "entry_id": [entry, "0" * 8],
        "base": [url, NOBODY, "http://127.0.0.1:3"],
        "handle": [LoadArguments("local/rows").handle, "0" * 16],
        "path": ["local/rows", "a/b"],
    }
    for operation in (found for path in told["paths"].values() for found in path.values()):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in known:
                parameter["schema"] = {"enum": known[parameter["name"]]}
    new = told["components"]["schemas"]["NewEntry"]["properties"]
    # Whom the router asks is what a test says.
    new["base_url"] = {"enum": [NOBODY, "ftp://host", ""]}
    new["bundle"] = {"enum": [str(Bundle("127.0.0.1", 1)), ""]}
    load = told["components"]["schemas"]["Load"]["properties"]
    load["path"] = or_one_of(["local/rows"], load["path"])
    return told
