"""The body of a response, as an encoding makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fdss.backend import FilePart

#: Key of the WSGI environment of a server that sends parts of files by itself.
SENDS_FILES = "fdss.sends_files"
#: Key of that environment under which such a server says which error broke a body off.
BROKEN_OFF = "fdss.broken_off"

Chunk = bytes | memoryview | FilePart


@dataclass(frozen=True)
class Body:
    """Chunks of many rows.

    Attributes:
        chunks: Made while they are sent.
        size_bytes: Of all chunks, where it is known before they are made.
    """

    chunks: Iterator[Chunk]
    size_bytes: int | None = None

    def read(self) -> Iterator[bytes | memoryview]:
        """Yield the chunks as bytes alone: for servers that know nothing else."""
        for chunk in self.chunks:
            rest = chunk
            while not isinstance(rest, bytes | memoryview) and len(rest):
                first = rest.first()
                yield first
                rest = rest.after(len(first))
            if isinstance(rest, bytes | memoryview):
                yield rest
