"""What the router asks of one server for somebody else, who names it by its id or its URL."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote

import orjson
from flask import Blueprint, Response, g, request

from fdss.access import note_handle
from fdss.arguments import LoadArguments
from fdss.backend import MAX_SEED
from fdss.errors import (
    BadParameter,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    SettingError,
)
from fdss.views.bodies import json_object
from fdss.wire.names import MAX_COUNT, PLAIN, TAGGED

from .answers import BAD_GATEWAY, error_body, json_answer
from .asking import AskFailed
from .membership import checked_base_url, server_id_of
from .names import BASE_PROXY_PATH, proxy_path
from .proxy import MAX_ROWS, RowsAsk
from .queries import integer_of, needed_text_of, text_of
from .router import Router

UPSTREAM_FAILED_HEADER = "x-upstream-auth-failed"
DEFAULT_ROWS = 25
MOST_LEVELS = 16
MOST_ITEMS = 1 << 16


def proxy_blueprint(router: Router) -> Blueprint:
    """Return the endpoints that ask one server."""
    blueprint = Blueprint("proxy", __name__)
    proxy = router.proxy

    @blueprint.get(proxy_path("<server_id>", "<question>"))
    @blueprint.get(f"{BASE_PROXY_PATH}/<question>")
    def ask(question: str, server_id: str = "") -> Response:
        if question == "load":
            raise MethodNotAllowed("A server is asked to load a dataset with POST.")
        return json_answer(proxy.ask(_chosen(router, server_id), question))

    @blueprint.get(proxy_path("<server_id>", "length"))
    @blueprint.get(f"{BASE_PROXY_PATH}/length")
    def tell_length(server_id: str = "") -> Response:
        return json_answer(proxy.length(_chosen(router, server_id), _handle()))

    @blueprint.get(proxy_path("<server_id>", "iter"))
    @blueprint.get(f"{BASE_PROXY_PATH}/iter")
    def tell_rows(server_id: str = "") -> Response:
        page = proxy.page(_chosen(router, server_id), _rows_ask())
        _check_lines(page.lines)
        return json_answer(
            {
                "rows": [orjson.Fragment(line) for line in page.lines],
                "position": page.position,
                "length": page.length,
                "fingerprint": page.fingerprint,
                "types": page.types,
                "is_cut": page.is_cut,
            }
        )

    @blueprint.post(proxy_path("<server_id>", "load"))
    @blueprint.post(f"{BASE_PROXY_PATH}/load")
    def load(server_id: str = "") -> Response:
        arguments = LoadArguments.from_json(json_object(MOST_LEVELS, MOST_ITEMS))
        note_handle(arguments.handle)
        return json_answer(proxy.load(_chosen(router, server_id), arguments.as_json()))

    @blueprint.errorhandler(AskFailed)
    def failed(error: AskFailed) -> Response:
        return _gateway_failed(g.server_id, error)

    return blueprint


def _chosen(router: Router, server_id: str) -> str:
    if not server_id:
        server_id = _named_by_url(router)
    g.server_id = server_id
    return server_id


def _named_by_url(router: Router) -> str:
    try:
        base_url = checked_base_url(needed_text_of("base"))
    except SettingError as error:
        raise BadParameter(error.message, hint=error.hint) from error
    server_id = server_id_of(base_url)
    try:
        router.member(server_id)
    except NotFound:
        raise Forbidden(
            f"{base_url[:200]} is no server of this cluster.",
            hint="register it first: fdss router add URL",
        ) from None
    return server_id


def _handle() -> str:
    handle = needed_text_of("handle")
    note_handle(handle)
    return handle


def _rows_ask() -> RowsAsk:
    types = text_of("types") or PLAIN
    if types not in (PLAIN, TAGGED):
        raise BadParameter(f"Parameter 'types' is {PLAIN} or {TAGGED}; found {types[:40]!r}.")
    position = integer_of("position", 0, MAX_COUNT)
    limit = integer_of("limit", 1, MAX_ROWS)
    return RowsAsk(
        _handle(),
        position=0 if position is None else position,
        limit=DEFAULT_ROWS if limit is None else limit,
        seed=integer_of("seed", 0, MAX_SEED),
        columns=_columns(),
        types=types,
    )


def _columns() -> tuple[str, ...]:
    given = ",".join(request.args.getlist("columns"))
    return tuple(unquote(column) for column in given.split(",")) if given else ()


def _check_lines(lines: Sequence[bytes]) -> None:
    """Let nothing into the answer but one JSON object a line."""
    try:
        rows = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError as error:
        raise AskFailed("its rows are no JSON") from error
    if len(rows) != len(lines) or not all(isinstance(row, dict) for row in rows):
        raise AskFailed("its rows are not one JSON object a line")


def _gateway_failed(server_id: str, error: AskFailed) -> Response:
    reason = str(error).rstrip(".")
    body = error_body(f"Server {server_id} did not answer as it should: {reason}.", BAD_GATEWAY)
    told = {"upstream_status": error.status, "upstream_code": error.code}
    response = json_answer({**body, **told}, 502)
    if error.status in (401, 403):
        response.headers[UPSTREAM_FAILED_HEADER] = "1"
    return response
