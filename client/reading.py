"""The rows of a selection from a server: page after page, the next one asked for in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import requests

from fdss.backend import Chunk, Selection
from fdss.errors import AnswerTooLarge
from fdss.rows import RowMaker
from fdss.wire import names

from .arena import Arena
from .bodies import Memory, page_chunks
from .connections import Hold
from .link import MAX_PAGE_BYTES, Link, PageSize
from .pages import Page, Transfer, asked_page, checked_types
from .readahead import THREAD_NAME, Flow
from .session import ServerSession
from .tallies import Tally

# Over a distant link the next page is asked for when the present one has so many waits to go.
# Earlier, both would share the link and end together, and leave it idle for a round trip.
WAITS_AHEAD = 3.0
# Slower than this over a distant link, compressed rows come faster.
SLOW_BYTES_S = 32 << 20
# Rows that are too large together are asked for again, so many times fewer.
LESS = 16


@dataclass(frozen=True)
class Served:
    """One dataset as a server described it.

    Attributes:
        length: Stored rows.
        fingerprint: Content fingerprint; None from a server that has none.
        maker: Makes the values ``datasets`` gives.
        transfer: How rows are brought here.
        link: What is known of the way to the server.
        row_bytes: Bytes of a row by columns, of those that were read before.
        tally: Told of what is asked and received.
    """

    session: ServerSession
    handle: str
    length: int
    fingerprint: str | None
    maker: RowMaker
    transfer: Transfer = field(default_factory=Transfer)
    link: Link = field(default_factory=Link)
    row_bytes: dict[tuple[str, ...] | None, float] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)


class BatchEnds:
    """Where the server's batches end among the rows of a selection, learned from what arrives.

    A page that ends with a batch leaves none to be cut in two, once on either side.
    """

    def __init__(self) -> None:
        self._begin = 0
        self._rows = 0

    def learn(self, begin: int, rows: int) -> None:
        """Take in a batch that no page cut: its first row and its number of rows."""
        self._begin, self._rows = begin, rows

    def whole(self, begin: int, rows: int) -> int:
        """Return the rows from ``begin`` to the last end of a batch; ``rows`` if there is none."""
        if not self._rows:
            return rows
        return max(0, rows - (begin + rows - self._begin) % self._rows) or rows


class PageReader:
    """Reads one selection; each reading of it starts at a row of its own.

    The next page is asked for, over a second connection, while the present one arrives.

    Args:
        most_bytes: Largest page that is asked for.
    """

    def __init__(self, served: Served, selection: Selection, most_bytes: int) -> None:
        self._served = served
        self._selection = selection
        self._size = PageSize(min(most_bytes, MAX_PAGE_BYTES))
        row_bytes = served.row_bytes.get(selection.columns)
        if row_bytes is not None and served.link.is_distant:
            self._size.measure(row_bytes, served.link.rate())
            self._size.leap()
        self._ends = BatchEnds()
        self._memory = Memory(Arena(), served.transfer.limits, served.tally)
        self._most_rows = len(selection)

    def chunks(self, begin: int, flow: Flow[Chunk]) -> Generator[tuple[Chunk, int], None, None]:
        """Yield the rows from the ``begin``-th of the selection on, with their size in bytes.

        A page is asked for when there is room for all of it, so that a consumer that takes its
        time does not hold a thread of the server.
        """
        following: _Answer | None = None
        try:
            while begin < len(self._selection):
                flow.make_room(self._size.page_bytes if following is None else 0)
                answer = following or self._answer(begin, flow)
                following, first = None, begin
                begin += answer.page.rows
                try:
                    for chunk, chunk_bytes, rest_rows in self._measured_chunks(answer):
                        if following is None and self._is_next_due(begin, rest_rows, flow):
                            following = self._answer(begin, flow)
                            following.begin()
                        if chunk is not None:
                            first += len(chunk)
                            yield chunk, chunk_bytes
                    self._most_rows = len(self._selection)
                except AnswerTooLarge as exc:
                    rows = min(exc.rows, answer.page.rows)
                    if rows == 1:
                        raise
                    # Fewer of such rows may be less than the limit.
                    self._most_rows, begin = max(1, rows // LESS), first
                    if following is not None:
                        following.discard()
                        following = None
        finally:
            if following is not None:
                flow.hold.break_off()
                following.discard()

    def _answer(self, begin: int, flow: Flow[Chunk]) -> _Answer:
        rows = self._ends.whole(begin, min(self._size.next_rows(), self._most_rows))
        rows = min(rows, len(self._selection) - begin)
        page = asked_page(self._selection, self._served.length, begin, rows)
        return _Answer(page, begin, self._asking(flow.hold))

    def _asking(self, hold: Hold) -> Callable[[Page], requests.Response]:
        served = self._served
        headers = {"Accept": served.transfer.accept}
        if served.fingerprint is not None:
            headers["If-Match"] = f'"{served.fingerprint}"'
        path = names.iter_path(served.handle)
        parameters = served.transfer.parameters(served.link.is_slow)

        def ask(page: Page) -> requests.Response:
            served.tally.ask()
            asked = page.parameters | parameters
            return served.session.stream(path, asked, headers=headers, hold=hold)

        return ask

    def _measured_chunks(
        self, answer: _Answer
    ) -> Generator[tuple[Chunk | None, int, int], None, None]:
        """Yield chunks, their bytes, and the rows of the page behind them; first a None."""
        served, rest_rows = self._served, answer.page.rows
        size_bytes, reading_s = 0, 0.0
        with answer.response() as response:
            served.link.least_wait_s = min(served.link.least_wait_s, answer.waited_s)
            types = checked_types(response, answer.page, served.fingerprint)
            yield None, 0, rest_rows
            begun_s = time.perf_counter()
            for chunk, chunk_bytes in page_chunks(
                response, answer.page, types, served.maker, self._memory
            ):
                reading_s += time.perf_counter() - begun_s
                size_bytes += chunk_bytes
                if len(chunk) < rest_rows < answer.page.rows:
                    self._ends.learn(answer.first + answer.page.rows - rest_rows, len(chunk))
                rest_rows -= len(chunk)
                self._measure(answer.page.rows - rest_rows, size_bytes, reading_s)
                yield chunk, chunk_bytes, rest_rows
                begun_s = time.perf_counter()
        served.link.add(size_bytes, reading_s)

    def _measure(self, rows: int, size_bytes: int, seconds: float) -> None:
        link, row_bytes = self._served.link, max(1.0, size_bytes / rows)
        self._served.row_bytes[self._selection.columns] = row_bytes
        self._size.measure(row_bytes, link.rate(size_bytes, seconds))
        if link.is_distant:
            self._size.leap()
        # Compressed rows come faster than the link is, so what was slow stays slow.
        link.is_slow = link.is_distant and (link.is_slow or self._size.rate < SLOW_BYTES_S)

    def _is_next_due(self, begin: int, rest_rows: int, flow: Flow[Chunk]) -> bool:
        rest_bytes = self._size.expected_bytes(rest_rows)
        is_more = begin < len(self._selection) and self._size.is_measured
        return (
            is_more
            and self._is_near_end(rest_bytes)
            and flow.has_room(rest_bytes + self._size.page_bytes)
        )

    def _is_near_end(self, rest_bytes: int) -> bool:
        link = self._served.link
        return not link.is_distant or rest_bytes <= (
            self._size.rate * link.least_wait_s * WAITS_AHEAD
        )


class _Answer:
    """The answer to one page, waited for here or in a thread of its own.

    Attributes:
        first: The page's first row among those of the selection.
        waited_s: Seconds from the request to the first byte, once there is a response.
    """

    def __init__(self, page: Page, first: int, ask: Callable[[Page], requests.Response]) -> None:
        self.page = page
        self.first = first
        self.waited_s = 0.0
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._response: requests.Response | None = None
        self._error: BaseException | None = None

    def begin(self) -> None:
        """Send the request, without waiting for the response."""
        self._thread = threading.Thread(target=self._wait, name=THREAD_NAME, daemon=True)
        self._thread.start()

    def response(self) -> requests.Response:
        """Return the response, or raise why there is none."""
        if self._thread is None:
            return self._asked()
        self._thread.join()
        if self._response is None:
            assert self._error is not None
            raise self._error
        return self._response

    def discard(self) -> None:
        """Close a response that nobody reads, once its request is broken off."""
        if self._thread is not None:
            self._thread.join()
        if self._response is not None:
            self._response.close()

    def _wait(self) -> None:
        try:
            self._response = self._asked()
        except BaseException as exc:  # the edge of the thread: whoever waits raises it
            self._error = exc

    def _asked(self) -> requests.Response:
        begun_s = time.perf_counter()
        response = self._ask(self.page)
        self.waited_s = time.perf_counter() - begun_s
        return response
