"""A remote dataset that outlives its servers: it waits, looks for one again, and goes on.

What can pass is tried again: no connection, a cut page, a server that is busy, a handle that is
gone. What cannot is raised at once, with the server's own message. Whichever server answers, it
has to hold the rows that the job began with: its fingerprint is compared before a row is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from fdss.arguments import LoadArguments
from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.errors import (
    AuthenticationRequired,
    BadRequest,
    ContentChanged,
    FdssError,
    PageCut,
    ServerUnreachable,
    Unavailable,
    UnknownHandle,
)

from .finding import Finder, Found
from .pages import Transfer
from .patience import Outage, Patience
from .remote import LOAD_TIMEOUT_S, RemoteBackend, load_remote

PASSING = (ServerUnreachable, PageCut, Unavailable, UnknownHandle)
#: What a server may recover from, but a job must not wait for without end.
FAILURES = 8

Answer = TypeVar("Answer")


class ResilientRemoteBackend:
    """The rows of a dataset, from whichever server has them.

    It can be pickled, and used after a fork and by several threads.
    """

    def __init__(
        self,
        arguments: LoadArguments,
        finder: Finder,
        *,
        patience: Patience | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        """Take what to load; nothing is sent before the first question.

        Args:
            arguments: What every server is asked to load.
            finder: Says which server.
            patience: How an outage is borne; None for what the environment says.
            transfer: How rows are brought here; None as ``RemoteBackend`` has it.

        Raises:
            SettingError: The environment names no possible patience.
        """
        self._arguments = arguments
        self._finder = finder
        self._patience = patience or Patience.from_environment()
        self._transfer = transfer
        self._present: tuple[Found, RemoteBackend] | None = None
        self._fingerprint: str | None = None

    def __repr__(self) -> str:
        return f"ResilientRemoteBackend({self._arguments.path!r}, {self._finder!r})"

    @property
    def url(self) -> str:
        """Return the URL of the server that is read from at present."""
        return self._asked(lambda remote: remote.url)

    @property
    def handle(self) -> str:
        """Return the handle of the dataset on that server."""
        return self._asked(lambda remote: remote.handle)

    @property
    def fingerprint(self) -> str:
        """Return the content fingerprint."""
        return self._asked(lambda remote: remote.fingerprint)

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in stored order."""
        return self._asked(lambda remote: remote.column_names)

    @property
    def features(self) -> FeaturesJson:
        """Return the HF features as JSON, a name to a feature, in stored order."""
        return self._asked(lambda remote: remote.features)

    def __len__(self) -> int:
        return self._asked(len)

    def connect(self) -> None:
        """Load the dataset now, with one try.

        Raises:
            ServerUnreachable: No server answered.
            FdssError: The server refused, with its own message.
        """
        found = self._finder.find(self._arguments, self._fingerprint)
        self._present = found, self._loaded(found, LOAD_TIMEOUT_S)

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        """Yield the rows of a selection, in its order, through outages and changes of server.

        Raises:
            OutageTooLong: No row came for as long as the patience lasts.
            ContentChanged: The rows are no longer those the job began with.
            FdssError: A server refused what no waiting helps.
        """
        trouble = _Trouble(self)
        done = 0
        while True:
            found, remote = trouble.server()
            left = selection if not done else selection.part(done, len(selection) - done)
            try:
                for chunk in remote.chunks(left):
                    trouble.end(found)
                    done += len(chunk)
                    yield chunk
                return
            except FdssError as error:
                trouble.bear(error, found)

    def _asked(self, question: Callable[[RemoteBackend], Answer]) -> Answer:
        trouble = _Trouble(self)
        while True:
            found, remote = trouble.server()
            try:
                answer = question(remote)
            except FdssError as error:
                trouble.bear(error, found)
            else:
                trouble.end(found)
                return answer

    def _loaded(self, found: Found, timeout_s: float) -> RemoteBackend:
        remote = load_remote(
            found.url,
            self._arguments,
            token=found.token,
            timeout_s=self._patience.stall_s,
            transfer=self._transfer,
            load_timeout_s=timeout_s,
        )
        if self._fingerprint is None:
            self._fingerprint = remote.fingerprint
        if remote.fingerprint != self._fingerprint:
            raise ContentChanged(
                f"{self._arguments.path!r} at {found.url} has the fingerprint"
                f" {remote.fingerprint!r}; this job reads {self._fingerprint!r}."
            )
        return remote


class _Trouble:
    """What one reader bears: it decides what is tried again, where, and when."""

    def __init__(self, backend: ResilientRemoteBackend) -> None:
        self._backend = backend
        self._patience = backend._patience
        self._outage: Outage | None = None

    def server(self) -> tuple[Found, RemoteBackend]:
        """Return a server that has the rows, once there is one."""
        backend, present = self._backend, self._backend._present
        while present is None:
            try:
                found = backend._finder.find(backend._arguments, backend._fingerprint)
            except PASSING as error:
                self._wait(error)
                continue
            try:
                present = backend._present = found, backend._loaded(found, self._patience.stall_s)
            except FdssError as error:
                self.bear(error, found)
        return present

    def bear(self, error: FdssError, found: Found) -> None:
        """Return when the next try is due after an error of a server, or raise the error."""
        backend = self._backend
        backend._present = None
        if isinstance(error, PASSING) or self._may_recover(error):
            backend._finder.suspect(found)
            self._wait(error)
        elif backend._finder.can_choose and not isinstance(error, BadRequest):
            # Where there is no other server, the finder raises the error.
            backend._finder.refuse(found, error)
        else:
            raise error

    def end(self, found: Found) -> None:
        """Say that a server has answered."""
        if self._outage is not None:
            self._outage.end(found.url)
            self._outage = None

    def _may_recover(self, error: FdssError) -> bool:
        tries = 0 if self._outage is None else self._outage.tries
        # A router may know a token by now that the server has changed.
        is_token = isinstance(error, AuthenticationRequired) and self._backend._finder.can_choose
        return tries < FAILURES and (is_token or (error.status == 500 and error.travels))

    def _wait(self, error: FdssError) -> None:
        if self._outage is None:
            waiting = f"Dataset {self._backend._arguments.path!r}"
            self._outage = Outage(self._patience, waiting)
        self._outage.wait(error)
