"""A judge of lines that is not the code under test: the standard library's JSON."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def strict_rows(data: bytes) -> list[Any]:
    """Return what stands in lines of JSON, refusing whatever is not strict.

    Raises:
        ValueError: A line is not JSON, holds NaN or Infinity, or does not end with ``\\n``.
    """
    if not data:
        return []
    *lines, rest = data.split(b"\n")
    if rest:
        raise ValueError("the last line does not end")
    return [json.loads(line.decode(), parse_constant=_refuse) for line in lines]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
