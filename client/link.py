"""What is known of the way to a server, and how large pages are for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_PAGE_ROWS = 256
FIRST_PAGE_BYTES = 1 << 20
MAX_PAGE_BYTES = 16 << 20

# A page that takes half a second hides round trips, and is soon fetched again when it is cut.
PAGE_S = 0.5
# A wait that cannot be the server's own work. A tunnel to another site ends on this machine, so
# the address tells nothing.
DISTANT_S = 0.02


@dataclass
class Link:
    """What is known of the way to a server, kept from one reading of its rows to the next.

    Attributes:
        least_wait_s: Shortest time from a request to the first byte of its answer.
        is_slow: Whether rows are to be compressed.
    """

    least_wait_s: float = math.inf
    is_slow: bool = False
    _bytes: float = 0.0
    _seconds: float = 0.0

    @property
    def is_distant(self) -> bool:
        """Return whether it is so far that the wait cannot be the server's own work."""
        return DISTANT_S <= self.least_wait_s < math.inf

    def rate(self, size_bytes: int = 0, seconds: float = 0.0) -> float:
        """Return bytes a second while rows arrive; 0.0 before any did.

        Args:
            size_bytes: What has arrived of the present page.
            seconds: How long that took.
        """
        return (self._bytes + size_bytes) / max(self._seconds + seconds, 1e-6)

    def add(self, size_bytes: int, seconds: float) -> None:
        """Take in a page, which counts twice as much as the one before.

        Pages that overlap share the link: one of them comes slowly, the other at once.
        """
        self._bytes = self._bytes / 2 + size_bytes
        self._seconds = self._seconds / 2 + seconds


class PageSize:
    """How many rows a page asks for: 256, then by their measured bytes and the measured rate.

    Pages begin at 1 MiB and double up to the bytes that arrive in half a second, or 16 MiB. Over
    a distant link, where every doubling costs a round trip, they begin with that.

    Attributes:
        page_bytes: What the next page is expected to take.
        rate: Bytes a second while rows arrived; 0.0 before any did.
    """

    def __init__(self, most_bytes: int = MAX_PAGE_BYTES) -> None:
        self.page_bytes = min(FIRST_PAGE_BYTES, most_bytes)
        self.rate = 0.0
        self._most_bytes = most_bytes
        self._row_bytes = 0.0

    @property
    def is_measured(self) -> bool:
        """Return whether the size of rows is known."""
        return self._row_bytes > 0

    def next_rows(self) -> int:
        """Return the rows of the next page, 1 or more."""
        if not self.is_measured:
            return FIRST_PAGE_ROWS
        rows = max(1, int(self.page_bytes / self._row_bytes))
        self.page_bytes = min(2 * self.page_bytes, self._fitting_bytes)
        return rows

    def leap(self) -> None:
        """Let the next page take half a second, without the steps up to there."""
        self.page_bytes = self._fitting_bytes

    def expected_bytes(self, rows: int) -> int:
        """Return what some rows are expected to take; 0 before any were measured."""
        return int(rows * self._row_bytes)

    def measure(self, row_bytes: float, rate: float) -> None:
        """Take in how large rows are, and how many bytes of them come a second."""
        self._row_bytes = row_bytes
        self.rate = rate

    @property
    def _fitting_bytes(self) -> int:
        return min(max(FIRST_PAGE_BYTES, int(self.rate * PAGE_S)), self._most_bytes)
