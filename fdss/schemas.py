"""JSON schemas of what is sent and answered, and the parameters of requests."""

from __future__ import annotations

from typing import Any

from fdss.backend import MAX_BLOCK_ROWS, MAX_SEED, MAX_WINDOW_ROWS
from fdss.errors import error_kinds
from fdss.wire import names
from fdss.wire.names import MAX_COUNT

Json = dict[str, Any]

COUNT: Json = {"type": "integer", "minimum": 0}
#: A header's value is text, also where it is a number.
DIGITS: Json = {"type": "string", "pattern": "^[0-9]+$"}
_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_FREE: Json = {"type": "object"}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_MAYBE_COUNT: Json = {"type": ["integer", "null"]}
_PATTERNS: Json = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _integer(smallest: int, largest: int) -> Json:
    return {"type": "integer", "minimum": smallest, "maximum": largest}


def _parts(needed: int, most: int) -> Json:
    number = "[0-9]{1,19}"
    more = f"(:{number}){{{needed - 1},{most - 1}}}"
    return {"type": "string", "pattern": f"^{number}{more}$"}


HANDLE: Json = {
    "name": "handle",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
}
IF_MATCH: Json = {"name": "If-Match", "in": "header", "required": False, "schema": _TEXT}
QUERY: tuple[Json, ...] = (
    _query("position", _integer(0, MAX_COUNT)),
    _query("limit", _integer(0, MAX_COUNT)),
    _query("seed", _integer(0, MAX_SEED)),
    _query("block", _integer(1, MAX_BLOCK_ROWS)),
    _query("window", _integer(0, MAX_WINDOW_ROWS)),
    _query("stride", _integer(1, MAX_COUNT)),
    _query("run", _parts(2, 3)),
    _query("rows", _parts(2, 3)),
    {
        **_query("columns", {"type": "array", "items": _TEXT, "minItems": 1}),
        "style": "form",
        "explode": False,
    },
    _query("types", {"enum": [names.PLAIN, names.TAGGED]}),
    _query("compression", {"enum": ["lz4", "zstd"]}),
)

ROW_HEADERS: Json = {
    **{
        name: {"required": True, "schema": DIGITS}
        for name in (names.ROWS_HEADER, names.POSITION_HEADER, names.LENGTH_HEADER)
    },
    names.ORDER_HEADER: {"required": True, "schema": {"const": names.ORDER_VERSION}},
    names.TYPES_HEADER: {
        "required": True,
        "schema": {"enum": [names.PLAIN, names.TAGGED, names.ARROW_TYPES]},
    },
    "ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[^"]+"$'}},
}


def _object(properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


_LOAD = _object(
    {
        "path": {"type": "string", "minLength": 1},
        "name": _MAYBE_TEXT,
        "split": _MAYBE_TEXT,
        "data_files": {
            "anyOf": [
                {"type": "null"},
                _PATTERNS,
                {"type": "object", "additionalProperties": _PATTERNS},
            ]
        },
        "revision": _MAYBE_TEXT,
    },
    optional=("name", "split", "data_files", "revision"),
)
_LINE: Json = {
    "handle": _TEXT,
    "length": COUNT,
    "source": {"enum": ["local", "path", "hf"]},
    "load_args": _FREE,
}
_SPLITS = _list(_object({"name": _TEXT, "num_examples": _MAYBE_COUNT, "num_bytes": _MAYBE_COUNT}))
_POLICY = _object(
    {
        "auth_required": _FLAG,
        "hf_cache_enabled": _FLAG,
        "allow_paths": _FLAG,
        "allow_downloads": _FLAG,
        "local_count": COUNT,
    }
)

SCHEMAS: Json = {
    "Health": _object(
        {
            "status": {"const": "ok"},
            "service": _TEXT,
            "version": _TEXT,
            "policy": _POLICY,
            "load": _object({"streams": COUNT, "bytes_per_s": COUNT}),
        }
    ),
    "AuthStatus": _object({"auth_required": _FLAG}),
    "Handles": _object(
        {"handles": _list(_object({**_LINE, "fingerprint": _TEXT}, optional=("fingerprint",)))}
    ),
    "Dataset": _object(
        {**_LINE, "column_names": _list(_TEXT), "fingerprint": _TEXT, "features": _FREE}
    ),
    "Length": _object({"length": COUNT}),
    "Load": _LOAD,
    "HubCache": _object(
        {
            "cache_root": _MAYBE_TEXT,
            "datasets": _list(_object({"repo": _TEXT, "configs": _list(_FREE)})),
        }
    ),
    "Locals": _object(
        {"local": _list(_object({"name": _TEXT, "layout": _MAYBE_TEXT, "splits": _SPLITS}))}
    ),
    "Description": _FREE,
    "Error": {
        **_object(
            {
                "error": {"type": "string", "minLength": 1},
                "code": {
                    "enum": sorted(kind.code for kind in error_kinds().values() if kind.travels)
                },
                "hint": _TEXT,
            }
        ),
        "additionalProperties": False,
    },
}
