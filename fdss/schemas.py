"""JSON schemas of what is sent and answered, and the parameters of requests."""

from __future__ import annotations

from typing import Any

from fdss.backend import MAX_BLOCK_ROWS, MAX_SEED, MAX_WINDOW_ROWS
from fdss.errors import NotReady, error_kinds
from fdss.wire import names
from fdss.wire.names import MAX_COUNT

Json = dict[str, Any]

COUNT: Json = {"type": "integer", "minimum": 0}
#: A header's value is text, also where it is a number.
DIGITS: Json = {"type": "string", "pattern": "^[0-9]+$"}
TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
FREE: Json = {"type": "object"}
MAYBE_TEXT: Json = {"type": ["string", "null"]}
_MAYBE_COUNT: Json = {"type": ["integer", "null"]}
PATTERNS: Json = {"anyOf": [TEXT, {"type": "array", "items": TEXT}]}


def query(name: str, schema: Json) -> Json:
    """Return a parameter of the query that may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema}


def integer(smallest: int, largest: int) -> Json:
    """Return the schema of an integer from one to another."""
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
IF_MATCH: Json = {"name": "If-Match", "in": "header", "required": False, "schema": TEXT}
QUERY: tuple[Json, ...] = (
    query("position", integer(0, MAX_COUNT)),
    query("limit", integer(0, MAX_COUNT)),
    query("seed", integer(0, MAX_SEED)),
    query("block", integer(1, MAX_BLOCK_ROWS)),
    query("window", integer(0, MAX_WINDOW_ROWS)),
    query("stride", integer(1, MAX_COUNT)),
    query("run", _parts(2, 3)),
    query("rows", _parts(2, 3)),
    {
        **query("columns", {"type": "array", "items": TEXT, "minItems": 1}),
        "style": "form",
        "explode": False,
    },
    query("types", {"enum": [names.PLAIN, names.TAGGED]}),
    query("compression", {"enum": ["lz4", "zstd"]}),
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


def object_of(properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    """Return the schema of an object with properties, all of them there but the optional ones."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def list_of(items: Json) -> Json:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


LOAD = object_of(
    {
        "path": {"type": "string", "minLength": 1},
        "name": MAYBE_TEXT,
        "split": MAYBE_TEXT,
        "data_files": {
            "anyOf": [
                {"type": "null"},
                PATTERNS,
                {"type": "object", "additionalProperties": PATTERNS},
            ]
        },
        "revision": MAYBE_TEXT,
    },
    optional=("name", "split", "data_files", "revision"),
)
_LINE: Json = {
    "handle": TEXT,
    "length": COUNT,
    "source": {"enum": ["local", "path", "hf"]},
    "load_args": FREE,
}
SPLITS = list_of(object_of({"name": TEXT, "num_examples": _MAYBE_COUNT, "num_bytes": _MAYBE_COUNT}))
_POLICY = object_of(
    {
        "auth_required": FLAG,
        "hf_cache_enabled": FLAG,
        "allow_paths": FLAG,
        "allow_downloads": FLAG,
        "local_count": COUNT,
    }
)

_CHECKS: Json = {
    "type": "object",
    "additionalProperties": object_of({"ok": FLAG, "reason": TEXT}),
}

SCHEMAS: Json = {
    "Health": object_of(
        {
            "status": {"const": "ok"},
            "service": TEXT,
            "version": TEXT,
            "policy": _POLICY,
            "load": object_of({"streams": COUNT, "bytes_per_s": COUNT}),
        }
    ),
    "AuthStatus": object_of({"auth_required": FLAG}),
    "Handles": object_of(
        {"handles": list_of(object_of({**_LINE, "fingerprint": TEXT}, optional=("fingerprint",)))}
    ),
    "Dataset": object_of(
        {**_LINE, "column_names": list_of(TEXT), "fingerprint": TEXT, "features": FREE}
    ),
    "Length": object_of({"length": COUNT}),
    "Load": LOAD,
    "HubCache": object_of(
        {
            "cache_root": MAYBE_TEXT,
            "datasets": list_of(object_of({"repo": TEXT, "configs": list_of(FREE)})),
        }
    ),
    "Locals": object_of(
        {"local": list_of(object_of({"name": TEXT, "layout": MAYBE_TEXT, "splits": SPLITS}))}
    ),
    "Description": FREE,
    "Ready": object_of({"ready": {"const": True}, "checks": _CHECKS}),
    "NotReady": object_of(
        {
            "ready": {"const": False},
            "checks": _CHECKS,
            "error": TEXT,
            "code": {"const": NotReady.code},
            "hint": TEXT,
        }
    ),
    "Error": {
        **object_of(
            {
                "error": {"type": "string", "minLength": 1},
                "code": {
                    "enum": sorted(kind.code for kind in error_kinds().values() if kind.travels)
                },
                "hint": TEXT,
            }
        ),
        "additionalProperties": False,
    },
}
