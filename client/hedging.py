"""A second server is asked for the first rows when the first one is unusually slow.

Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013: the second request is sent only when the
first has taken longer than 95 % of those before, so it costs few requests and cuts the longest
waits. Whoever answers first is read from then on and the other is broken off: the rows are those
of one server, never mixed, never doubled.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from fdss.backend import Chunk, Selection
from fdss.errors import ServerUnreachable

from .finding import Found
from .readahead import ReadAhead
from .remote import LOAD_TIMEOUT_S, RemoteBackend
from .tallies import Tally
from .variables import is_on

if TYPE_CHECKING:
    from .resilient import ResilientRemoteBackend

VARIABLE = "FORGATHER_DATASET_CLIENT_HEDGE"
#: How long a first page may take before enough of them are known.
UNKNOWN_S = 1.0
LEAST_SAMPLES = 20
MOST_SAMPLES = 200
#: How often another server is looked for; whoever chooses may name the same again.
TRIES = 3

Present = tuple[Found, RemoteBackend]
Server = Callable[[], Present]
Results = queue.SimpleQueue["_Runner"]

_first_pages_s: dict[str, deque[float]] = {}


def is_wanted() -> bool:
    """Return whether the environment asks for a second server.

    Raises:
        SettingError: The variable is neither 0 nor 1.
    """
    return is_on(VARIABLE)


def patience_s(server_id: str) -> float:
    """Return how long the first page of a server may take: its 95th percentile, once known."""
    known = sorted(_first_pages_s.get(server_id, ()))
    return known[int(0.95 * len(known))] if len(known) >= LEAST_SAMPLES else UNKNOWN_S


def note(server_id: str, seconds: float) -> None:
    """Keep how long the first page of a server took, or at least would have taken."""
    _first_pages_s.setdefault(server_id, deque(maxlen=MOST_SAMPLES)).append(seconds)


def raced(
    backend: ResilientRemoteBackend, present: Present, selection: Selection, tally: Tally
) -> tuple[Present, Iterator[Chunk]]:
    """Return who gave the first rows of a selection first, ``present`` or another, and all rows.

    Raises:
        FdssError: What ``present`` raised, if no other one answered either.
    """
    found, remote = present
    if not len(selection) or selection.columns == () or remote.description.fingerprint is None:
        # Nothing is asked, or nobody can tell whether another server has the same rows.
        return present, remote.tallied_chunks(selection, tally)
    begun_s = time.monotonic()
    results: Results = queue.SimpleQueue()
    first, winner = _Runner(lambda: present, selection, tally, results), None
    runners = [first]
    try:
        try:
            done = [results.get(timeout=patience_s(found.server_id))]
        except queue.Empty:
            runners.append(_Runner(lambda: _another(backend, found), selection, tally, results))
            done = [results.get()]
            if done[0].error is not None:
                done.append(results.get())
        winner = next((runner for runner in done if runner.error is None), None)
    finally:
        for runner in runners:
            if runner is not winner:
                runner.stop()
    if winner is None:
        assert first.error is not None
        raise first.error
    note(found.server_id, time.monotonic() - begun_s)
    return winner.present, winner.rows()


def _another(backend: ResilientRemoteBackend, slow: Found) -> Present:
    # It is not named to the router as one that failed: everybody would avoid it.
    for _ in range(TRIES):
        found = backend.finder.find(backend.arguments, backend.pin.fingerprint)
        if found.server_id != slow.server_id:
            return found, backend.load(found, LOAD_TIMEOUT_S)
    raise ServerUnreachable(f"No server but {slow.url} was found.")


class _Runner:
    """One server's way to the first rows, in a thread; at its end it stands among the results."""

    def __init__(
        self, server: Server, selection: Selection, tally: Tally, results: Results
    ) -> None:
        self.present: Present
        self.error: BaseException | None = None
        self._ahead: ReadAhead[Chunk] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        self._selection = selection
        self._tally = tally
        run = partial(self._run, server, results)
        threading.Thread(target=run, name="fdss-hedge", daemon=True).start()

    def stop(self) -> None:
        """Break off what is under way."""
        with self._lock:
            self._is_stopped = True
            if self._ahead is not None:
                self._ahead.close()

    def rows(self) -> Iterator[Chunk]:
        """Yield the first chunk and all that follow."""
        assert self._ahead is not None
        remote = self.present[1]
        with contextlib.closing(self._ahead):
            self._tally.read_from(remote.url)
            yield self._first
            done = len(self._first)
            yield from remote.rest_of(self._selection, self._ahead, self._tally, done)

    def _run(self, server: Server, results: Results) -> None:
        try:
            self.present = server()
            with self._lock:
                if self._is_stopped:
                    return
                self._ahead = self.present[1].reading(self._selection, self._tally)
            self._first = next(self._ahead)
        except BaseException as error:  # the edge of the thread: whoever waits raises it
            self.error = error
        results.put(self)
