"""The description of the API: it is true, and requests made from it do no harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from fuzzing import attack, serving

from fdss.app import create_app
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.errors import error_kinds
from fdss.gate import OPEN_PATHS
from fdss.openapi import ENDPOINTS, Endpoint, description
from fdss.schemas import QUERY, SCHEMAS
from fdss.views.parameters import PARAMETERS

REQUESTS = 3000


def test_every_route_is_described_and_nothing_else(config: ServerConfig) -> None:
    """The table has exactly the methods and paths that are served."""
    app = create_app(config, Catalog(config))
    served = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }

    assert {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS} == served


def test_the_open_endpoints_are_those_of_the_gate() -> None:
    """What the table says to be open is what the gate lets through."""
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.is_open} == OPEN_PATHS


def test_every_status_of_an_error_is_described() -> None:
    """No error travels with a status that no endpoint is said to have, but for other methods."""
    described = {status for endpoint in ENDPOINTS for status in endpoint.statuses}
    travelling = {kind.status for kind in error_kinds().values() if kind.travels}

    assert travelling - described <= {405, 410}


def test_every_parameter_of_rows_is_described() -> None:
    """The query of /iter is described whole, in its order."""
    assert [parameter["name"] for parameter in QUERY] == list(PARAMETERS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_schemas_that_are_named_exist(endpoint: Endpoint) -> None:
    """Every answer and body has a schema, and every schema is an answer's or a body's."""
    assert {endpoint.answer, endpoint.body} - {""} <= set(SCHEMAS)


def test_the_description_is_served_behind_the_gate(
    client: FlaskClient, config: ServerConfig, make_client: Any
) -> None:
    """Who has the token gets the description, as it is in the table."""
    stranger = create_app(config, Catalog(config)).test_client()

    assert client.get("/v1/openapi.json").get_json() == json.loads(json.dumps(description()))
    assert stranger.get("/v1/openapi.json").status_code == 401


@pytest.mark.long
def test_thousands_of_requests_from_the_description_are_answered_as_described(
    tmp_path: Path,
) -> None:
    """No failure, no hang, no status or body that is not described, no path of the server."""
    with serving(tmp_path) as target:
        found = attack(target, REQUESTS)

    assert found.wrong == {}
    assert set(found.statuses) >= {200, 400, 401, 404, 412}
