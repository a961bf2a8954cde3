"""How large a JSON value is."""

from __future__ import annotations

from typing import Any

from fdss.errors import BadRequest


def check_size(value: Any, *, most_levels: int, most_items: int) -> None:
    """Look through a JSON value, level by level.

    Args:
        most_levels: Deepest nesting; a number has one level.
        most_items: Most values and keys.

    Raises:
        BadRequest: It is nested deeper, or has more.
    """
    level = [value]
    items = 1
    for _ in range(most_levels):
        items += sum(len(item) * (2 if isinstance(item, dict) else 1) for item in _nests(level))
        if items > most_items:
            raise BadRequest(
                f"The JSON body has more than {most_items:,} values and keys.",
                hint="send less, or start the server with a larger --max-json-items",
            )
        level = [
            inner
            for item in _nests(level)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise BadRequest(f"The JSON body is nested deeper than {most_levels} levels.")


def _nests(level: list[Any]) -> list[Any]:
    return [item for item in level if isinstance(item, dict | list)]
