"""Questions that the router puts to a server of the cluster for somebody else.

Whom it asks is a member, and nobody else: the registry and what the cluster announces are the
whole list, and a server's id is all that a caller may choose. What it asks is one of a few
questions. How long that takes and how much comes back is bounded, whatever the server does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fdss.backend import WINDOW_ROWS, Row
from fdss.errors import BadParameter, NotFound, PageError, UnknownHandle
from fdss.wire import names
from fdss.wire.ndjson import decode_lines

from .asking import Answer, Ask, Asker, AskFailed, Json, RowTooLarge
from .membership import Member
from .turns import Turns

#: What is asked of a server, by the word that stands for it.
QUESTIONS = {
    "health": names.HEALTH_PATH,
    "auth-status": names.AUTH_STATUS_PATH,
    "datasets": names.DATASETS_PATH,
    "cache": names.HUB_CACHE_PATH,
    "local": names.LOCAL_PATH,
}
#: How long it waits for what a server answers from memory, and for what it may have to look up.
MEMORY_TIMEOUT_S = 5.0
LOOKUP_TIMEOUT_S = 10.0
#: And for a dataset to be opened, and for a page of rows.
LOAD_TIMEOUT_S = 60.0
ROWS_TIMEOUT_S = 30.0
MAX_ROWS = 500
PAGE_BYTES = 16 << 20


_LOOKED_UP = ("cache", "local")
_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


@dataclass(frozen=True)
class RowsAsk:
    """Which rows of a dataset are asked for.

    Attributes:
        position: Of the first, 0 or more.
        limit: Most rows, 1 to ``MAX_ROWS``.
        seed: Of the order they are read in; None for stored order.
        columns: Those wanted; none for all.
        types: The dialect they are wanted in.
    """

    handle: str
    position: int
    limit: int
    seed: int | None = None
    columns: tuple[str, ...] = ()
    types: str = names.TAGGED

    @property
    def query(self) -> dict[str, str]:
        """Return the query of the request."""
        query = {"position": str(self.position), "limit": str(self.limit), "types": self.types}
        if self.seed is not None:
            # The order that ``shuffle(seed)`` gives a client.
            query.update(seed=str(self.seed), window=str(WINDOW_ROWS))
        if self.columns:
            query["columns"] = ",".join(quote(column, safe="") for column in self.columns)
        return query


@dataclass(frozen=True)
class LinesPage:
    """Rows of one dataset as they came, a line each; otherwise like ``RowsPage``.

    Attributes:
        types: The dialect they are in, which an old server does not choose.
    """

    lines: list[bytes]
    types: str
    position: int
    length: int
    fingerprint: str
    is_cut: bool


@dataclass(frozen=True)
class RowsPage:
    """Rows of one dataset.

    Attributes:
        rows: Values of the tagged dialect; images and audio as their stored bytes and path.
        position: Position of the first.
        length: Positions there are in all.
        fingerprint: Of the content; empty if the server does not tell one.
        is_cut: Whether fewer rows are here than were asked for, because they are large.
    """

    rows: list[Row]
    position: int
    length: int
    fingerprint: str
    is_cut: bool = False


class Proxy:
    """Asks members; threads may share it. Nothing is kept from one question to the next.

    Attributes:
        note_bytes: Called with the size of what a server has answered.
    """

    def __init__(self, find: Callable[[str], Member]) -> None:
        """Take what finds a member by its id, and raises NotFound for whoever is none."""
        self._find = find
        self._turns = Turns()
        self.note_bytes: Callable[[int], None] = lambda size_bytes: None

    @property
    def under_way(self) -> int:
        """Return how many questions are under way."""
        return self._turns.total

    def ask(self, server_id: str, question: str) -> Json:
        """Return what a server answers to one of ``QUESTIONS``.

        Raises:
            NotFound: No member has that id, or there is no such question.
            Unavailable: The server has too much to answer already.
            AskFailed: It does not answer as it should.
        """
        if question not in QUESTIONS:
            raise NotFound(
                f"A server is asked for {', '.join(QUESTIONS)}; not for {question[:80]!r}."
            )
        timeout_s = LOOKUP_TIMEOUT_S if question in _LOOKED_UP else MEMORY_TIMEOUT_S
        with self._asker(server_id) as asker:
            return asker.get(QUESTIONS[question], timeout_s)

    def load(self, server_id: str, arguments: Mapping[str, Any]) -> Json:
        """Return what a server tells of a dataset, which it opens if it is not open.

        Raises:
            NotFound: No member has that id.
            Unavailable: The server has too much to answer already.
            AskFailed: It does not answer as it should; a refusal of its policy has its code.
        """
        with self._asker(server_id) as asker:
            return asker.post(names.LOAD_PATH, arguments, LOAD_TIMEOUT_S)

    def length(self, server_id: str, handle: str) -> Json:
        """Return what a server tells of the number of rows behind a handle; errors as in ``load``.

        Raises:
            UnknownHandle: It is none.
        """
        with self._asker(server_id) as asker:
            return asker.get(names.length_path(_checked(handle)), MEMORY_TIMEOUT_S)

    def rows(
        self,
        server_id: str,
        handle: str,
        *,
        position: int,
        limit: int,
        seed: int | None = None,
        columns: Sequence[str] = (),
    ) -> RowsPage:
        """Return rows of a dataset as values; otherwise as ``page``.

        Args:
            position: Of the first, 0 or more.
            limit: Most rows, 1 to ``MAX_ROWS``.
            seed: Of the order they are read in; None for stored order.
            columns: Those wanted; none for all.
        """
        ask = RowsAsk(handle, position, limit, seed, tuple(columns))
        page = self.page(server_id, ask)
        try:
            rows = decode_lines(page.lines, page.types)
        except PageError as error:
            raise AskFailed(f"its rows cannot be read: {error.message}") from error
        return RowsPage(rows, page.position, page.length, page.fingerprint, page.is_cut)

    def page(self, server_id: str, ask: RowsAsk) -> LinesPage:
        """Return rows of a dataset: as many as asked for, but no more than 16 MiB of them.

        Raises:
            NotFound: No member has that id, or the handle is none.
            BadParameter: Position or limit are out of range.
            Unavailable: The server has too much to answer already.
            AskFailed: It does not answer as it should, or one row alone is too large.
        """
        _check_range(ask)
        path = names.iter_path(_checked(ask.handle))
        question = Ask(path, ROWS_TIMEOUT_S, ask.query, accept=names.NDJSON, page_bytes=PAGE_BYTES)
        with self._asker(server_id) as asker:
            answer = asker.take(question)
            length = answer.headers.get(names.LENGTH_HEADER)
            if names.ORDER_HEADER not in answer.headers:
                # It is from before FDSS.
                if ask.seed is not None or ask.columns:
                    raise AskFailed("it is too old to tell the order of rows, or to leave out any")
                told = asker.get(names.length_path(ask.handle), MEMORY_TIMEOUT_S)
                length = str(told.get("length"))
        return _page(answer, ask, _count(length))

    @contextmanager
    def _asker(self, server_id: str) -> Iterator[Asker]:
        member = self._find(server_id)
        with self._turns.taken(member.server_id), closing(Asker(member)) as asker:
            try:
                yield asker
            finally:
                self.note_bytes(asker.received_bytes)


def _check_range(ask: RowsAsk) -> None:
    if not 0 <= ask.position <= names.MAX_COUNT or not 1 <= ask.limit <= MAX_ROWS:
        raise BadParameter(
            f"position={ask.position} and limit={ask.limit}: the first is 0 or more, the other 1 "
            f"to {MAX_ROWS}."
        )


def _page(answer: Answer, ask: RowsAsk, length: int) -> LinesPage:
    lines = answer.body.split(b"\n")[:-1]
    if answer.is_cut and not lines:
        raise RowTooLarge(
            f"the row at position {ask.position:,} alone has more than {PAGE_BYTES >> 20} MiB; "
            "leave out the column that is so large"
        )
    told = answer.headers.get(names.ROWS_HEADER)
    if len(lines) > ask.limit or (
        told is not None and not answer.is_cut and _count(told) != len(lines)
    ):
        raise AskFailed(f"of {ask.limit} rows it told {told} and sent {len(lines)}")
    return LinesPage(
        lines,
        answer.headers.get(names.TYPES_HEADER, names.PLAIN),
        ask.position,
        length,
        answer.headers.get("ETag", "").removeprefix("W/").strip('"'),
        answer.is_cut,
    )


def _count(told: object) -> int:
    text = str(told)
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        raise AskFailed(f"it told {text[:40]!r} for a number of rows")
    return int(text)


def _checked(handle: str) -> str:
    if not _HANDLE.fullmatch(handle):
        raise UnknownHandle(f"{handle[:80]!r} is no handle.")
    return handle
