"""What clients ask a router: which server to read from, and what the cluster has."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from flask import Blueprint, Response, request

from fdss.arguments import LoadArguments
from fdss.data_files import check_data_files
from fdss.errors import BadParameter
from fdss.wire.names import ROUTER_RESOLVE_PATH

from .answers import json_answer
from .asking import token_of
from .candidates import Question
from .names import INVENTORY_PATH, REFRESH_PATH, SERVERS_PATH
from .queries import text_of
from .router import Router


def cluster_blueprint(router: Router, *, gives_tokens: bool) -> Blueprint:
    """Return the endpoints about the cluster as a whole.

    Args:
        gives_tokens: Whether a client that is sent to a server gets its token.
    """
    blueprint = Blueprint("cluster", __name__)

    @blueprint.get(ROUTER_RESOLVE_PATH)
    def resolve() -> Response:
        member = router.resolve(_question()).member
        return json_answer(
            {
                "base_url": member.base_url,
                "auth_token": token_of(member) if gives_tokens else "",
                "server_id": member.server_id,
            }
        )

    @blueprint.get(INVENTORY_PATH)
    def tell_inventory() -> Response:
        return json_answer(router.inventory())

    @blueprint.get(SERVERS_PATH)
    def list_servers() -> Response:
        return json_answer(router.server_list())

    @blueprint.post(REFRESH_PATH)
    def refresh() -> Response:
        router.refresh()
        return Response(status=204)

    return blueprint


def _question() -> Question:
    path, dataset_id = text_of("path"), text_of("dataset_id")
    if path and dataset_id and path != dataset_id:
        raise BadParameter("Parameters 'path' and 'dataset_id' name different datasets.")
    named = {key: text_of(key) or None for key in ("name", "split", "revision")}
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
        fingerprint=text_of("fingerprint") or None,
        excluded=frozenset(excluded),
        client=request.remote_addr or "",
        is_near=_is_near(request.remote_addr),
    )


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
