"""Which content a job reads, agreed on by all of its processes."""

from __future__ import annotations

from ctypes import c_char
from multiprocessing import get_all_start_methods, get_context
from typing import Any

from fdss.errors import PageForeign

MAX_BYTES = 255

# Where workers are not forked they get what is pickled, after it is known.
_context = get_context("fork" if "fork" in get_all_start_methods() else None)


class Pin:
    """A fingerprint in memory that forked processes share: the first of them that knows it tells.

    Workers of a DataLoader may be forked before anybody has asked a server; each would take the
    content that its own server has.
    """

    def __init__(self, fingerprint: str = "") -> None:
        """Begin with a fingerprint, or with none."""
        self._shared = _context.Array(c_char, MAX_BYTES + 1)
        self._shared.value = fingerprint.encode()

    @property
    def fingerprint(self) -> str | None:
        """Return what is agreed on; None as long as nobody knows."""
        return self._shared.value.decode() or None

    def agreed(self, fingerprint: str) -> str:
        """Return what is agreed on, which is ``fingerprint`` if nobody was first.

        Raises:
            PageForeign: It is longer than fingerprints are.
        """
        told = fingerprint.encode()
        if not 0 < len(told) <= MAX_BYTES:
            raise PageForeign(f"A fingerprint of {len(told):,} bytes is none.")
        with self._shared.get_lock():
            self._shared.value = self._shared.value or told
            return self._shared.value.decode()

    def __reduce__(self) -> tuple[Any, ...]:
        return Pin, (self.fingerprint or "",)
