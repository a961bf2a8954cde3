"""Functions of pipelines that worker processes import by name."""

from __future__ import annotations

from typing import Any


def double(row: dict[str, Any]) -> dict[str, Any]:
    """Return the double of a row's number."""
    return {"double": 2 * row["n"]}


def is_odd(row: dict[str, Any]) -> bool:
    """Return whether a row's number is odd."""
    return bool(row["n"] % 2)


def grow(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return every number as often as its remainder by 4 says."""
    return {"n": [n for n in batch["n"] for _ in range(n % 4)]}


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of some rows, as a DataLoader's batch."""
    return [row["n"] for row in rows]
