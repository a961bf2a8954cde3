"""JSON schemas of what the router's API is sent and answers, and the parameters of requests."""

from __future__ import annotations

from typing import Any

from fdss.backend import MAX_SEED
from fdss.errors import error_kinds
from fdss.schemas import (
    COUNT,
    FLAG,
    FREE,
    LOAD,
    MAYBE_TEXT,
    SCHEMAS as OF_SERVERS,
    TEXT,
    integer,
    list_of,
    object_of,
    query,
)
from fdss.wire import names

from .answers import BAD_GATEWAY
from .names import SERVICE
from .proxy import MAX_ROWS, QUESTIONS

Json = dict[str, Any]

_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_ID: Json = {"type": "string", "pattern": "^[0-9a-f]{12}$"}


def _needed(parameter: Json) -> Json:
    return {**parameter, "required": True}


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


SERVER_ID = _in_path("server_id", _ID)
ENTRY_ID = _in_path("entry_id", {"type": "string", "pattern": "^[0-9a-f]{8}$"})
QUESTION = _in_path("question", {"enum": list(QUESTIONS)})
BASE = _needed(query("base", {"type": "string", "pattern": "^https?://"}))
HANDLE = _needed(query("handle", {"type": "string", "pattern": "^[0-9a-f]{16}$"}))
ROWS: tuple[Json, ...] = (
    HANDLE,
    query("position", integer(0, names.MAX_COUNT)),
    query("limit", integer(1, MAX_ROWS)),
    query("seed", integer(0, MAX_SEED)),
    {
        **query("columns", {"type": "array", "items": TEXT, "minItems": 1}),
        "style": "form",
        "explode": False,
    },
    query("types", {"enum": [names.PLAIN, names.TAGGED]}),
)
RESOLVE = tuple(
    query(name, TEXT)
    for name in (
        "path",
        "dataset_id",
        "name",
        "split",
        "revision",
        "data_files",
        "fingerprint",
        "exclude",
    )
)

_TALLY = object_of({"total": COUNT, "failed": COUNT, "consecutive_failed": COUNT})
_SERVER = object_of(
    {
        "server_id": _ID,
        "base_url": TEXT,
        "label": TEXT,
        "source": TEXT,
        "peer_node_id": {"type": "null"},
        "verify_tls": FLAG,
        "loopback": FLAG,
        "has_auth_token": FLAG,
        "token": {"enum": ["set", "none", "refused", "missing"]},
        "healthy": FLAG,
        "latency_s": _MAYBE_NUMBER,
        "suspected": FLAG,
        "policy": object_of(
            {"hf_cache_enabled": FLAG, "allow_paths": FLAG, "allow_downloads": FLAG}
        ),
        "load": {
            "anyOf": [
                {"type": "null"},
                object_of({"streams": {"type": "number"}, "bytes_per_s": {"type": "number"}}),
            ]
        },
        "last_health_check": _MAYBE_NUMBER,
        "last_health_error": MAYBE_TEXT,
        "last_dataset_refresh": _MAYBE_NUMBER,
        "last_dataset_error": MAYBE_TEXT,
        "health_checks": _TALLY,
        "dataset_refreshes": _TALLY,
    }
)
_ENTRY = object_of(
    {
        "id": TEXT,
        "label": TEXT,
        "base_url": TEXT,
        "verify_tls": FLAG,
        "server_id": _ID,
        "has_auth_token": FLAG,
    }
)
#: No entry that is told has a token.
_ENTRY["additionalProperties"] = False

SCHEMAS: Json = {
    "Health": object_of(
        {
            "status": {"const": "ok"},
            "service": {"const": SERVICE},
            "version": TEXT,
            "policy": object_of({"auth_required": FLAG}),
        }
    ),
    "AuthStatus": object_of({"auth_required": FLAG}),
    "Resolved": object_of({"base_url": TEXT, "auth_token": TEXT, "server_id": _ID}),
    "Inventory": object_of(
        {
            "is_master": {"const": True},
            "is_warm": FLAG,
            "master_become_ts": _MAYBE_NUMBER,
            "last_servers_collect_ts": _MAYBE_NUMBER,
            "last_servers_collect_error": MAYBE_TEXT,
            "last_health_pass_ts": _MAYBE_NUMBER,
            "last_dataset_pass_ts": _MAYBE_NUMBER,
            "servers": list_of(_SERVER),
            "departed": list_of(FREE),
            "datasets": list_of(FREE),
            "conflicts": list_of(FREE),
            "metrics": FREE,
        }
    ),
    "Servers": object_of({"servers": list_of(_SERVER)}),
    "Registered": object_of({"servers": list_of(_ENTRY)}),
    "Entry": _ENTRY,
    "NewEntry": {
        "type": "object",
        "properties": {
            "label": {"type": "string", "maxLength": 200},
            "base_url": {"type": "string", "pattern": "^https?://"},
            "auth_token": TEXT,
            "verify_tls": FLAG,
            "bundle": TEXT,
        },
        "anyOf": [{"required": ["base_url"]}, {"required": ["bundle"]}],
    },
    "Removed": object_of({"removed": TEXT}),
    "Bundle": object_of({"bundle": TEXT}),
    "Load": LOAD,
    "Rows": object_of(
        {
            "rows": list_of(FREE),
            "position": COUNT,
            "length": COUNT,
            "fingerprint": TEXT,
            "types": {"enum": [names.PLAIN, names.TAGGED]},
            "is_cut": FLAG,
        }
    ),
    # What a server answers is its own; its API says what that is.
    "Answer": FREE,
    "Description": FREE,
    **{name: OF_SERVERS[name] for name in ("Ready", "NotReady")},
    "Error": {
        **object_of(
            {
                "error": {"type": "string", "minLength": 1},
                "code": {
                    "enum": sorted(
                        {
                            BAD_GATEWAY,
                            *(kind.code for kind in error_kinds().values() if kind.travels),
                        }
                    )
                },
                "hint": TEXT,
                "detail": TEXT,
                "upstream_status": {"type": ["integer", "null"]},
                "upstream_code": TEXT,
            },
            optional=("upstream_status", "upstream_code"),
        ),
        "additionalProperties": False,
    },
}
