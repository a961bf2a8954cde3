"""The JSON object of an answer, bounded in length and in depth."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import requests

from fdss.errors import PageForeign

from .limits import ClientLimits

_READ_BYTES = 64 * 1024


def bounded_object(
    response: requests.Response, asked: str, limits: ClientLimits
) -> dict[str, Any] | None:
    """Return the JSON object that an answer holds; None if it holds something else.

    Args:
        asked: Method and URL, for messages.

    Raises:
        AnswerTooLarge: It is longer or deeper than allowed.
        PageForeign: It is encoded in a way that was not asked for.
    """
    check_identity(response, asked)
    content = bytearray()
    for block in response.iter_content(_READ_BYTES):
        content += block
        limits.check("answer_bytes", len(content), f"{asked} answered with {len(content):,} bytes")
    try:
        found = json.loads(content)
    except ValueError:
        return None
    except RecursionError:
        raise limits.too_large("answer_depth", f"{asked} answered JSON of more levels") from None
    if is_deeper(found, limits.answer_depth):
        raise limits.too_large("answer_depth", f"{asked} answered JSON of more levels")
    return found if isinstance(found, dict) else None


def check_identity(response: requests.Response, asked: str) -> None:
    """Refuse a body that would have to be unpacked: a few bytes of it may hold gigabytes.

    Raises:
        PageForeign: It is encoded.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise PageForeign(
            f"{asked} answered with the encoding {encoding[:40]!r}, which was not asked for.",
            hint="turn compression off in what stands between, or take fdss's own",
        )


def is_deeper(value: Any, most_levels: int) -> bool:
    """Tell whether lists and objects lie in one another at more levels than that."""
    level: list[Any] = [value]
    for _ in range(most_levels):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return any(isinstance(inner, dict | list) for inner in level)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
