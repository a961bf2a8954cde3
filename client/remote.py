"""A dataset that a server holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from fdss.arguments import LoadArguments
from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.errors import PageForeign, UnknownColumn
from fdss.rows import RowMaker
from fdss.wire import names
from fdss.wire.ndjson import RowsChunk

from .descriptions import Description
from .link import Link
from .pages import Transfer
from .readahead import ReadAhead
from .reading import PageReader, Served
from .session import READ_TIMEOUT_S, ServerSession
from .tallies import TalliedBackend, Tally

MIN_PAGE_BYTES = 1 << 16
LOAD_TIMEOUT_S = 600.0
#: How a fingerprint begins that stands for one nobody told.
UNKNOWN = "unknown:"

# It becomes part of a path.
_HANDLE = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


class RemoteBackend(TalliedBackend):
    """The rows of one handle of a server.

    Rows come in bounded pages that a background thread reads ahead, over connections that are
    kept. It can be pickled, and used after a fork and by several threads. Its ``link`` is what is
    known of the way to the server.

    A server from before FDSS is read in stored order and by position only: its values are plain
    JSON, its features are unknown (empty), and its fingerprint names handle and length, since the
    content cannot be told.
    """

    def __init__(
        self,
        url: str,
        handle: str,
        *,
        token: str | None = None,
        timeout_s: float = READ_TIMEOUT_S,
        transfer: Transfer | None = None,
        description: Description | None = None,
    ) -> None:
        """Take a server and a handle; nothing is sent yet.

        Args:
            token: Bearer token; None looks for one, see ``ServerSession``.
            timeout_s: Longest wait for the next byte of an answer, in seconds.
            transfer: How rows are brought here; None for Arrow bodies where the server has them.
            description: What the server tells about the handle, if it is known; else it is asked
                when it is needed.

        Raises:
            SettingError: The URL or the token is malformed.
        """
        self._session = ServerSession(url, token, timeout_s)
        self._handle = handle
        self._transfer = transfer or Transfer()
        self._description = description
        self.link = Link()
        self._row_bytes: dict[tuple[str, ...] | None, float] = {}

    def __repr__(self) -> str:
        return f"RemoteBackend({self.url!r}, {self.handle!r})"

    @property
    def url(self) -> str:
        """Return the server's URL."""
        return self._session.url

    @property
    def handle(self) -> str:
        """Return the handle of the dataset on its server."""
        return self._handle

    @property
    def fingerprint(self) -> str:
        """Return the content fingerprint."""
        told = self.description
        return told.fingerprint or f"{UNKNOWN}{self._handle}:{told.length}"

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in stored order."""
        return list(self.description.column_names)

    @property
    def features(self) -> FeaturesJson:
        """Return the HF features as JSON, a name to a feature, in stored order."""
        return dict(self.description.features)

    def __len__(self) -> int:
        return self.description.length

    def tallied_chunks(self, selection: Selection, tally: Tally) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order; closing the iterator ends its thread.

        Raises:
            ServerUnreachable: The server did not answer.
            PageCut: A page ended early; the rows before the cut were yielded.
            PageForeign: A page is another one than was asked for.
            ContentChanged: The server's rows are no longer those of the fingerprint.
            FdssError: The server refused the request.
        """
        if selection.columns == ():
            # Rows without columns have nothing that could be sent.
            yield RowsChunk(
                [{} for _ in range(len(selection))], self._served(selection, tally).maker
            )
        elif len(selection):
            yield from self.rest_of(selection, self.reading(selection, tally), tally)
        else:
            # Columns that do not exist are told all the same.
            self._served(selection, tally)

    def reading(self, selection: Selection, tally: Tally, begin: int = 0) -> ReadAhead[Chunk]:
        """Return the chunks from the ``begin``-th row of a selection on; errors as in ``chunks``.

        The selection has columns, and rows from there on. The tally is told of what is asked.
        """
        ahead_bytes = self._transfer.read_ahead_bytes
        most_bytes = max(MIN_PAGE_BYTES, ahead_bytes * 2 // 3)
        reader = PageReader(self._served(selection, tally), selection, most_bytes)
        return ReadAhead(partial(reader.chunks, begin), ahead_bytes)

    def rest_of(
        self, selection: Selection, ahead: ReadAhead[Chunk], tally: Tally, done: int = 0
    ) -> Iterator[Chunk]:
        """Yield what is being read of a selection, from its ``done``-th row on, and close it."""
        while True:
            try:
                while done < len(selection) and ahead.belongs_here():
                    chunk = next(ahead)
                    tally.read_from(self.url)
                    done += len(chunk)
                    yield chunk
                ahead.finish()
            finally:
                ahead.close()
            if done == len(selection):
                return
            # After a fork the child reads for itself.
            ahead = self.reading(selection, tally, done)

    @property
    def description(self) -> Description:
        """Return what the server tells about the handle."""
        if self._description is None:
            body = self._session.get_json(names.handle_path(self._handle))
            self._description = Description.from_json(body, self.url, self._transfer.limits)
        return self._description

    def _served(self, selection: Selection, tally: Tally) -> Served:
        told = self.description
        missing = sorted(set(selection.columns or ()) - set(told.column_names))
        if missing:
            raise UnknownColumn(
                f"Columns {missing} were asked for; {self!r} has {told.column_names}."
            )
        maker = RowMaker(
            told.features,
            selection.columns if told.features else None,
            image_pixels=self._transfer.limits.image_pixels,
        )
        return Served(
            self._session,
            self._handle,
            told.length,
            told.fingerprint,
            maker,
            self._transfer,
            self.link,
            self._row_bytes,
            tally,
        )


def load_remote(
    url: str,
    arguments: LoadArguments,
    *,
    token: str | None = None,
    timeout_s: float = READ_TIMEOUT_S,
    transfer: Transfer | None = None,
    load_timeout_s: float = LOAD_TIMEOUT_S,
) -> RemoteBackend:
    """Return a dataset that a server was asked to load; arguments as for ``RemoteBackend``.

    Args:
        load_timeout_s: Longest wait for the load, in seconds. The server goes on loading when
            nobody waits, and a second request joins the first.

    Raises:
        ServerUnreachable: The server did not answer.
        FdssError: The server refused or failed, with its own message.
    """
    transfer = transfer or Transfer()
    session = ServerSession(url, token, timeout_s)
    answer = session.post_json(names.LOAD_PATH, arguments.as_json(), timeout_s=load_timeout_s)
    handle = answer.get("handle")
    if not isinstance(handle, str) or not _HANDLE.fullmatch(handle):
        raise PageForeign(f"The server at {session.url} answered a load without a usable handle.")
    session.close()
    return RemoteBackend(
        url,
        handle,
        token=token,
        timeout_s=timeout_s,
        transfer=transfer,
        description=Description.from_json(answer, session.url, transfer.limits),
    )
