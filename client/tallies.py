"""What one pass over a dataset asks of servers, and which backends tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator

from fdss.backend import Chunk, Selection


class Tally:
    """The requests of one pass, and what came of them.

    Threads that read ahead tell what they do; whoever takes the rows gathers it. So every count
    has one writer, and nobody holds a lock that a fork could copy.

    Attributes:
        requests: Requests for rows, those that failed too.
        received_bytes: Bytes of rows as they came over the wire.
        retries: Times that something was asked again after a failure.
        fail_overs: Times that rows came from another server than those before.
        servers: URLs of the servers that rows came from, the newest last.
    """

    def __init__(self, publish: Callable[[], None] | None = None) -> None:
        """Begin with nothing.

        Args:
            publish: Called when a retry or another server is counted: rows may be long in coming.
        """
        self._publish = publish
        self.requests = self.received_bytes = self.retries = self.fail_overs = 0
        self.servers: list[str] = []
        self._told: deque[tuple[int, int]] = deque()

    def ask(self) -> None:
        """Count a request, in any thread."""
        self._told.append((1, 0))

    def receive(self, size_bytes: int) -> None:
        """Count bytes, in any thread."""
        self._told.append((0, size_bytes))

    def retry(self) -> None:
        """Count a retry, in the thread that takes the rows."""
        self.retries += 1
        self._show()

    def read_from(self, url: str) -> None:
        """Say where the next rows come from, in the thread that takes them."""
        if self.servers and self.servers[-1] != url:
            self.fail_overs += 1
        if self.servers[-1:] != [url]:
            self.servers = [*(server for server in self.servers if server != url), url]
            self._show()

    def gather(self) -> None:
        """Take in what other threads have told, in the thread that takes the rows."""
        while self._told:
            requests, size_bytes = self._told.popleft()
            self.requests += requests
            self.received_bytes += size_bytes

    def _show(self) -> None:
        if self._publish is not None:
            self._publish()


class TalliedBackend(ABC):
    """A backend that asks servers, and tells a tally of it."""

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order, as ``tallied_chunks`` does."""
        return self.tallied_chunks(selection, Tally())

    @abstractmethod
    def tallied_chunks(self, selection: Selection, tally: Tally) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order; errors as of ``Backend.chunks``."""
