"""The body of a response, as an encoding makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Body:
    """Chunks of many rows.

    Attributes:
        chunks: Made while they are sent.
        size_bytes: Of all chunks, where it is known before they are made.
    """

    chunks: Iterator[bytes | memoryview]
    size_bytes: int | None = None
