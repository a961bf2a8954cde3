"""Datasets that servers open for a page, which may take longer than anybody waits for a page."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import BadRequest, FdssError, Unavailable
from fdss.router.asking import MAX_LEVELS, AskFailed
from fdss.router.proxy import LOAD_TIMEOUT_S, Proxy, RowsPage
from fdss.views.sizes import check_size

from .explore_queue import Queue

#: How long a page waits before it says that it waits.
PATIENCE_S = 3.0
#: How long what a server told of a dataset is believed.
KEPT_S = 30.0
MOST_OPENINGS = 8
MOST_KEPT = 32
#: Columns that are heard of: more names are more than a page can choose from.
MOST_COLUMNS = 100_000
#: Characters of their names, and keys and values of their types: all that is kept has to fit.
MOST_CHARACTERS = 1 << 22
MOST_VALUES = 100_000
MOST_FINGERPRINT = 200


@dataclass(frozen=True)
class Opened:
    """A dataset that a server has open.

    Attributes:
        length: Rows that it has.
        column_names: In stored order.
        features: By the name of the column, where the server tells them.
    """

    handle: str
    length: int
    column_names: tuple[str, ...]
    features: dict[str, Any]
    fingerprint: str

    @classmethod
    def of(cls, told: Any) -> Opened:
        """Return what a server's answer tells.

        Raises:
            AskFailed: It is not an answer to this question.
        """
        handle, length = told.get("handle"), told.get("length")
        columns, features = told.get("column_names"), told.get("features")
        features = features if isinstance(features, dict) else {}
        columns = list(features) if columns is None else columns
        if (
            not isinstance(handle, str)
            or type(length) is not int
            or not isinstance(columns, list)
            or not all(isinstance(name, str) for name in columns)
        ):
            raise AskFailed("it opened the dataset and did not tell what it is")
        if sum(map(len, columns)) + len(handle) > MOST_CHARACTERS:
            raise AskFailed("it opened the dataset and told names that are too long")
        fingerprint = told.get("fingerprint")
        return cls(
            handle,
            length,
            tuple(columns[:MOST_COLUMNS]),
            features if _is_small(features) else {},
            fingerprint[:MOST_FINGERPRINT] if isinstance(fingerprint, str) else "",
        )


def _is_small(features: dict[str, Any]) -> bool:
    try:
        check_size(features, most_levels=MAX_LEVELS, most_items=MOST_VALUES)
    except BadRequest:
        return False
    return True


class StillOpening(Exception):
    """A server has not opened a dataset yet; asking again finds it further on.

    It answers nobody as an error: a page of its own stands for it.

    Attributes:
        waited_s: For how long it has been at it.
        most_s: For how long at most it may.
    """

    def __init__(self, waited_s: float) -> None:
        super().__init__("the server is still opening the dataset")
        self.waited_s = waited_s
        self.most_s = LOAD_TIMEOUT_S


@dataclass
class _Opening:
    begun_s: float
    done: threading.Event = field(default_factory=threading.Event)
    ended_s: float = 0.0
    opened: Opened | None = None
    error: AskFailed | FdssError | None = None


class Openings:
    """What is open or being opened, for all pages; threads share it.

    Requests for the same dataset wait for one answer.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._queue = Queue()
        self._lock = threading.Lock()
        self._openings: OrderedDict[tuple[str, str], _Opening] = OrderedDict()

    def opened(self, server_id: str, arguments: LoadArguments) -> Opened:
        """Return a dataset once its server has opened it.

        Raises:
            StillOpening: It takes longer than a page waits.
            Unavailable: Too many are being opened.
            AskFailed, NotFound: As ``Proxy.load`` raises them.
        """
        key = server_id, arguments.handle
        opening = self._opening(key, server_id, arguments)
        if not opening.done.wait(PATIENCE_S):
            raise StillOpening(time.monotonic() - opening.begun_s)
        if opening.error is not None:
            # Whoever reloads the page wants it tried again.
            self._forget(key, opening)
            raise opening.error
        assert opening.opened is not None
        return opening.opened

    def rows(
        self, server_id: str, arguments: LoadArguments, **asked: Any
    ) -> tuple[Opened, RowsPage]:
        """Return a dataset and rows of it; ``asked`` is what ``Proxy.rows`` takes.

        Raises:
            StillOpening, Unavailable, AskFailed, NotFound: As ``opened`` and ``Proxy.rows``.
        """
        opened = self.opened(server_id, arguments)
        try:
            return opened, self._rows(server_id, opened.handle, **asked)
        except AskFailed as error:
            if error.code != "unknown-handle":
                raise
        # It was started anew, or has closed what nobody used.
        self._forget((server_id, arguments.handle), None)
        opened = self.opened(server_id, arguments)
        return opened, self._rows(server_id, opened.handle, **asked)

    def _rows(self, server_id: str, handle: str, **asked: Any) -> RowsPage:
        with self._queue.turn(server_id):
            return self._proxy.rows(server_id, handle, **asked)

    def _opening(self, key: tuple[str, str], server_id: str, arguments: LoadArguments) -> _Opening:
        now_s = time.monotonic()
        with self._lock:
            self._drop_old(now_s)
            known = self._openings.get(key)
            if known is not None:
                return known
            if sum(not entry.done.is_set() for entry in self._openings.values()) >= MOST_OPENINGS:
                raise Unavailable(
                    f"{MOST_OPENINGS} datasets are being opened for other pages.",
                    hint="try again in a moment",
                )
            begun = self._openings[key] = _Opening(now_s)
        thread = threading.Thread(
            target=self._open, args=(begun, server_id, arguments), name="explore", daemon=True
        )
        thread.start()
        return begun

    def _open(self, opening: _Opening, server_id: str, arguments: LoadArguments) -> None:
        try:
            opening.opened = Opened.of(self._proxy.load(server_id, arguments.as_json()))
        except (AskFailed, FdssError) as error:
            opening.error = error
        finally:
            if opening.opened is None and opening.error is None:
                opening.error = AskFailed("it could not be asked")
            opening.ended_s = time.monotonic()
            opening.done.set()

    def _forget(self, key: tuple[str, str], opening: _Opening | None) -> None:
        with self._lock:
            if opening is None or self._openings.get(key) is opening:
                self._openings.pop(key, None)

    def _drop_old(self, now_s: float) -> None:
        for key, entry in list(self._openings.items()):
            is_over = entry.done.is_set() and (
                now_s - entry.ended_s > KEPT_S or len(self._openings) > MOST_KEPT
            )
            if is_over:
                del self._openings[key]
