"""The WSGI application of a router: endpoints, the gate in front, errors as JSON."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from fdss.access import install_access_log, shown_path
from fdss.arguments import LoadArguments
from fdss.data_files import check_data_files
from fdss.errors import (
    AuthenticationRequired,
    BadParameter,
    FdssError,
    NotFound,
    Unavailable,
    kind_of_status,
)
from fdss.gate import install_gate
from fdss.wire.names import (
    API_VERSION,
    AUTH_STATUS_PATH,
    DATASETS_PATH,
    GUARD_HEADERS,
    HEALTH_PATH,
    HUB_CACHE_PATH,
    JSON,
    LOCAL_PATH,
    REALM,
    ROUTER_RESOLVE_PATH,
)

from .asking import AskFailed, token_of
from .candidates import Question
from .names import INVENTORY_PATH, REFRESH_PATH, SERVERS_PATH, SERVICE, proxy_path
from .router import Router

MAX_TEXT = 4096
#: What the proxy asks of a server, by the word that stands for it.
QUESTIONS = {
    "health": HEALTH_PATH,
    "auth-status": AUTH_STATUS_PATH,
    "datasets": DATASETS_PATH,
    "cache": HUB_CACHE_PATH,
    "local": LOCAL_PATH,
}
#: How long it waits for what a server answers from memory, and for what it may have to look up.
MEMORY_TIMEOUT_S = 5.0
LOOKUP_TIMEOUT_S = 10.0
LOOKED_UP = ("cache", "local")
UPSTREAM_FAILED_HEADER = "x-upstream-auth-failed"

logger = logging.getLogger(__name__)


def create_router_app(router: Router, token: str | None) -> Flask:
    """Return the application that answers for a router.

    Args:
        token: What clients must send; None lets everybody in, who then get no tokens either.
    """
    app = Flask("fdss.router", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_TEXT
    # A redirect to a tidier path would answer before the gate does.
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = True
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    install_access_log(app)
    install_gate(app, token)
    _install_errors(app)
    _add_open_endpoints(app, has_token=token is not None)
    _add_cluster_endpoints(app, router, gives_tokens=token is not None)
    _add_proxy(app, router)
    return app


def _add_open_endpoints(app: Flask, *, has_token: bool) -> None:
    health = {
        "status": "ok",
        "service": SERVICE,
        "version": API_VERSION,
        "policy": {"auth_required": has_token},
    }

    @app.after_request
    def guard(response: Response) -> Response:
        response.headers.extend(GUARD_HEADERS)
        return response

    @app.get(HEALTH_PATH)
    def tell_health() -> Response:
        return _json(health)

    @app.get(AUTH_STATUS_PATH)
    def tell_auth_status() -> Response:
        return _json({"auth_required": has_token})


def _add_cluster_endpoints(app: Flask, router: Router, *, gives_tokens: bool) -> None:
    @app.get(ROUTER_RESOLVE_PATH)
    def resolve() -> Response:
        member = router.resolve(_question()).member
        return _json(
            {
                "base_url": member.base_url,
                "auth_token": token_of(member) if gives_tokens else "",
                "server_id": member.server_id,
            }
        )

    @app.get(INVENTORY_PATH)
    def tell_inventory() -> Response:
        return _json(router.inventory())

    @app.get(SERVERS_PATH)
    def list_servers() -> Response:
        return _json(router.server_list())

    @app.post(REFRESH_PATH)
    def refresh() -> Response:
        router.refresh()
        return Response(status=204)


def _add_proxy(app: Flask, router: Router) -> None:
    @app.get(proxy_path("<server_id>", "<question>"))
    def ask(server_id: str, question: str) -> Response:
        if question not in QUESTIONS:
            raise NotFound(
                f"A server is asked for {', '.join(QUESTIONS)}; not for {question[:80]!r}."
            )
        try:
            timeout_s = LOOKUP_TIMEOUT_S if question in LOOKED_UP else MEMORY_TIMEOUT_S
            return _json(router.ask(server_id, QUESTIONS[question], timeout_s))
        except AskFailed as error:
            return _gateway_failed(server_id, error)


def _gateway_failed(server_id: str, error: AskFailed) -> Response:
    status = error.status if error.is_refusal and error.status is not None else 502
    response = _json(
        _body(f"Server {server_id} did not answer as it should: {error}.", "bad-gateway"), status
    )
    if error.status in (401, 403):
        response.status_code = 502
        response.headers[UPSTREAM_FAILED_HEADER] = "1"
    return response


def _question() -> Question:
    path, dataset_id = _text("path"), _text("dataset_id")
    if path and dataset_id and path != dataset_id:
        raise BadParameter("Parameters 'path' and 'dataset_id' name different datasets.")
    named = {key: _text(key) or None for key in ("name", "split", "revision")}
    arguments = LoadArguments.from_json(
        {"path": path or dataset_id, "data_files": _data_files(), **named}
    )
    # Which of them a server takes is its own to say.
    check_data_files(arguments.data_files, paths=True, urls=True)
    excluded = {
        server_id
        for given in request.args.getlist("exclude")
        for server_id in given.split(",")
        if server_id
    }
    return Question(
        arguments,
        fingerprint=_text("fingerprint") or None,
        excluded=frozenset(excluded),
        client=request.remote_addr or "",
        is_near=_is_near(request.remote_addr),
    )


def _text(key: str) -> str:
    text = request.args.get(key, "")
    if len(text) > MAX_TEXT or not text.isprintable():
        raise BadParameter(f"Parameter {key!r} is too long or has control characters.")
    return text.strip()


def _data_files() -> Any:
    """Return what the JSON text of that name says; the length of the URL bounds it."""
    text = request.args.get("data_files", "")
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        raise BadParameter(
            "Parameter 'data_files' is no JSON text.",
            hint='send a pattern, a list of them, or either by split: ["a.csv"]',
        ) from None


def _is_near(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def _install_errors(app: Flask) -> None:
    @app.errorhandler(FdssError)
    def known(error: FdssError) -> Response:
        if error.status >= 500 and not isinstance(error, Unavailable):
            logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        return _error(error)

    @app.errorhandler(HTTPException)
    def refused_by_routing(error: HTTPException) -> Response:
        kind = kind_of_status(error.code or 500)
        reason = "there is no such endpoint." if error.code == 404 else error.description
        text = f"{request.method} {request.path[:200]}: {reason or error.name}"
        response = _error(kind(text, hint=""))
        for header, value in error.get_headers():
            if header == "Allow":
                response.headers[header] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        logger.error("%s %s failed", request.method, shown_path(), exc_info=error)
        hint = "the router's log has the details"
        return _error(FdssError("The router failed to answer.", hint=hint))


def _error(error: FdssError) -> Response:
    response = _json(_body(error.message, error.code, error.hint), error.status)
    if isinstance(error, AuthenticationRequired):
        response.headers["WWW-Authenticate"] = f'Bearer realm="{REALM}"'
    if isinstance(error, Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _body(message: str, code: str, hint: str = "") -> dict[str, str]:
    # Clients from before FDSS read ``detail``.
    return {"error": message, "code": code, "hint": hint, "detail": message}


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, mimetype=JSON)
