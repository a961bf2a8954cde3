"""The API as one table: endpoints, what they take, and every status they answer with.

``GET /v1/openapi.json`` is made from it, and a test holds it against the routes. What is sent and
answered in which form is in ``docs/protocol.md``; the schemas are those of ``fdss.schemas``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from fdss import schemas
from fdss.errors import Unavailable, error_kinds
from fdss.wire import names

Json = dict[str, Any]

#: What any request may be answered: malformed or too large, from another site, or too many.
ANY_REQUEST = (400, 403, 413, 414, 431, 503)
#: What any request that wants the token may be answered.
WITH_TOKEN = (401,)
#: Where a dataset may have to be opened.
OPENS = (500,)


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    Attributes:
        answer: Name of the schema of the JSON with status 200.
        refusals: Statuses other than 200 that not every endpoint has.
        parameters: Those of path, query and headers, as OpenAPI has them.
        body: Name of the schema of the request's JSON; empty without a body.
        is_open: Whether it answers without the token.
        streams: Whether the answer is rows, with their headers.
        text: Media type of an answer that is text, not JSON.
        is_empty: Whether the answer has status 204 and no body.
        unready: Name of the schema that an answer of status 503 may have, too.
    """

    method: str
    path: str
    summary: str
    answer: str
    refusals: tuple[int, ...] = ()
    parameters: tuple[Json, ...] = ()
    body: str = ""
    is_open: bool = False
    streams: bool = False
    text: str = ""
    is_empty: bool = False
    unready: str = ""

    @property
    def statuses(self) -> list[int]:
        """Return every status of the endpoint."""
        gate = () if self.is_open else WITH_TOKEN
        return sorted({self.success, *self.refusals, *gate, *ANY_REQUEST})

    @property
    def success(self) -> int:
        """Return the status of an answer that is no error."""
        return 204 if self.is_empty else 200

    def as_json(self) -> Json:
        """Return the operation."""
        answers = {str(status): _refusal(status) for status in self.statuses if status >= 400}
        if self.unready:
            answers[str(Unavailable.status)]["content"] = _json_of("Error", self.unready)
        operation: Json = {
            "operationId": f"{self.method.lower()} {self.path}",
            "summary": self.summary,
            "responses": {str(self.success): self._success(), **answers},
        }
        if self.parameters:
            operation["parameters"] = list(self.parameters)
        if self.body:
            operation["requestBody"] = {"required": True, "content": _json_of(self.body)}
        if self.is_open:
            operation["security"] = []
        return operation

    def _success(self) -> Json:
        if self.is_empty:
            return {"description": "Done", "headers": _headers(names.GUARD_HEADERS)}
        if not self.streams:
            return {
                "description": "OK",
                "headers": _headers(names.GUARD_HEADERS),
                "content": {self.text: {"schema": {"type": "string"}}}
                if self.text
                else _json_of(self.answer),
            }
        return {
            "description": "The rows; fewer than FDSS-Rows have arrived when a stream was cut.",
            "headers": {**_headers(names.GUARD_HEADERS), **schemas.ROW_HEADERS},
            "content": {
                names.NDJSON: {"schema": {"type": "string"}},
                names.ARROW: {"schema": {"type": "string", "format": "binary"}},
            },
        }


ENDPOINTS = (
    Endpoint("GET", names.HEALTH_PATH, "What the server is and may load", "Health", is_open=True),
    Endpoint(
        "GET", names.AUTH_STATUS_PATH, "Whether a token is wanted", "AuthStatus", is_open=True
    ),
    Endpoint("GET", names.DATASETS_PATH, "The open datasets", "Handles"),
    Endpoint(
        "GET",
        names.handle_path("{handle}"),
        "One dataset",
        "Dataset",
        refusals=(404, *OPENS),
        parameters=(schemas.HANDLE,),
    ),
    Endpoint(
        "GET",
        names.length_path("{handle}"),
        "The number of rows of a dataset",
        "Length",
        refusals=(404, *OPENS),
        parameters=(schemas.HANDLE,),
    ),
    Endpoint(
        "GET",
        names.iter_path("{handle}"),
        "Rows of a dataset",
        "",
        refusals=(404, 412, *OPENS),
        parameters=(schemas.HANDLE, *schemas.QUERY, schemas.IF_MATCH),
        streams=True,
    ),
    Endpoint(
        "POST",
        names.LOAD_PATH,
        "Open a dataset that is not open",
        "Dataset",
        refusals=(404, 415, *OPENS),
        body="Load",
    ),
    Endpoint("GET", names.HUB_CACHE_PATH, "What is in the HuggingFace cache", "HubCache"),
    Endpoint("GET", names.LOCAL_PATH, "The named local datasets", "Locals"),
    Endpoint("GET", names.OPENAPI_PATH, "This description", "Description"),
    Endpoint(
        "GET",
        names.READY_PATH,
        "Whether requests should be sent here, and why not",
        "Ready",
        unready="NotReady",
    ),
    Endpoint(
        "GET",
        names.METRICS_PATH,
        "What all processes of the server counted, for Prometheus",
        "",
        text=names.METRICS,
    ),
)


@cache
def description() -> Json:
    """Return the OpenAPI 3.1 document of the API, the same to everybody."""
    return document(names.SERVICE, ENDPOINTS, schemas.SCHEMAS)


def document(title: str, endpoints: Iterable[Endpoint], named: Json) -> Json:
    """Return the OpenAPI 3.1 document of endpoints, with the schemas that they name."""
    paths: dict[str, Json] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = endpoint.as_json()
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": names.API_VERSION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": named,
        },
    }


def _json_of(*schemas_: str) -> Json:
    told = [{"$ref": f"#/components/schemas/{name}"} for name in schemas_]
    return {names.JSON: {"schema": told[0] if len(told) == 1 else {"anyOf": told}}}


def _headers(values: dict[str, str]) -> Json:
    return {
        name: {"required": True, "schema": {"type": "string", "const": value}}
        for name, value in values.items()
    }


def _refusal(status: int) -> Json:
    kinds = [kind for kind in error_kinds().values() if kind.travels and kind.status == status]
    codes = ", ".join(sorted(kind.code for kind in kinds)) or "bad-gateway"
    headers = _headers(names.GUARD_HEADERS)
    if status == 401:
        headers |= _headers({"WWW-Authenticate": f'Bearer realm="{names.REALM}"'})
    if status == Unavailable.status:
        headers["Retry-After"] = {"required": True, "schema": schemas.DIGITS}
    return {
        "description": f"{HTTPStatus(status).phrase}: {codes}",
        "headers": headers,
        "content": _json_of("Error"),
    }
