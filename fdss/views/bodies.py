"""The JSON body of a request."""

from __future__ import annotations

from typing import Any

import orjson
from flask import g, request

from fdss.errors import BadRequest, UnsupportedMediaType
from fdss.views.sizes import check_size
from fdss.wire.names import JSON


def json_object(most_levels: int, most_items: int) -> dict[str, Any]:
    """Return the JSON object in the body of the current request.

    Args:
        most_levels: Deepest nesting; a number has one level.
        most_items: Most values and keys.

    Raises:
        UnsupportedMediaType: The body is said to be something else.
        BadRequest: It is no JSON object, or a larger one.
    """
    if request.mimetype not in ("", JSON):
        raise UnsupportedMediaType(f"The body must be JSON, found {request.mimetype!r}.")
    try:
        body = orjson.loads(request.get_data(cache=False))
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"Invalid JSON body: {error}") from error
    # What an error may repeat.
    g.asked = _text(body)
    check_size(body, most_levels=most_levels, most_items=most_items)
    if not isinstance(body, dict):
        raise BadRequest("Request body must be a JSON object.")
    return body


def _text(body: Any) -> str:
    text = orjson.dumps(body).decode()
    # JSON doubles the backslashes of a path.
    return text + text.replace("\\\\", "\\")
