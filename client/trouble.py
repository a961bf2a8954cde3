"""What a reader bears of its servers: what is tried again, where, and when.

What can pass is tried again: no connection, a cut page, a server that is busy, a handle that is
gone. What cannot is raised at once, with the server's own message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fdss.errors import (
    AuthenticationRequired,
    BadRequest,
    FdssError,
    NobodyServes,
    PageCut,
    ServerUnreachable,
    Unavailable,
    UnknownHandle,
)
from fdss.wire.names import HEALTH_PATH

from .finding import Found
from .patience import Outages
from .remote import LOAD_TIMEOUT_S, RemoteBackend
from .session import ServerSession
from .tallies import Tally

if TYPE_CHECKING:
    from .resilient import ResilientRemoteBackend

PASSING = (ServerUnreachable, PageCut, Unavailable, UnknownHandle)
#: How often what a server may recover from, but a job must not wait for without end, is tried.
FAILURES = 8
HEALTH_TIMEOUT_S = 5.0

Present = tuple[Found, RemoteBackend]


class Trouble:
    """What one reader bears: it decides what is tried again, where, and when.

    Attributes:
        outages: How long it waits.
    """

    def __init__(self, backend: ResilientRemoteBackend, tally: Tally | None = None) -> None:
        """Begin without trouble.

        Args:
            tally: Told of every retry; None when no pass has begun.
        """
        self.outages = Outages(backend.patience, f"Dataset {backend.arguments.path!r}")
        self._backend = backend
        self._tally = tally or Tally()
        self._failures = 0

    def server(self) -> Present:
        """Return a server that has the rows, once there is one."""
        backend = self._backend
        present = backend.present
        while present is None:
            try:
                found = backend.finder.find(backend.arguments, backend.pin.fingerprint)
            except FdssError as error:
                # A server that reboots has left the cluster; a name that nobody knew is no name.
                is_gone = isinstance(error, NobodyServes) and backend.is_described
                if not (is_gone or isinstance(error, PASSING) or self._may_recover(error)):
                    raise
                self._wait(error)
                continue
            try:
                present = found, self.loaded(found)
            except FdssError as error:
                self.bear(error, found)
                continue
            backend.present = present
            self.end(found)
        return present

    def loaded(self, found: Found) -> RemoteBackend:
        """Return the dataset of a server, which may take long to load it while it is well."""
        begun_s = time.monotonic()
        while True:
            tried_s, timeout_s = time.monotonic(), self.outages.timeout_s
            try:
                return self._backend.load(found, timeout_s)
            except ServerUnreachable:
                now_s = time.monotonic()
                was_silent = now_s - tried_s >= timeout_s
                if not was_silent or now_s - begun_s > LOAD_TIMEOUT_S or not _is_well(found):
                    raise
            # It goes on loading, and the next request joins the first.
            self.outages.flow()

    def bear(self, error: FdssError, found: Found) -> None:
        """Return when the next try is due after an error of a server, or raise the error."""
        finder = self._backend.finder
        if isinstance(error, PASSING) or self._may_recover(error):
            # One that is busy is not to be avoided by everybody.
            if not isinstance(error, Unavailable):
                finder.suspect(found)
            self._wait(error)
        elif finder.can_choose and not isinstance(error, BadRequest):
            # Where there is no other server, the finder raises the error.
            finder.refuse(found, error)
            self._tally.retry()
        else:
            raise error

    def end(self, found: Found) -> None:
        """Say that a server has answered as it should."""
        self._failures = 0
        self.outages.end(found.url)

    def _wait(self, error: FdssError) -> None:
        self.outages.wait(error)
        self._tally.retry()

    def _may_recover(self, error: FdssError) -> bool:
        # A router may know a token by now that the server has changed.
        is_token = isinstance(error, AuthenticationRequired) and self._backend.finder.can_choose
        if not (is_token or (error.status == 500 and error.travels)):
            return False
        self._failures += 1
        return self._failures <= FAILURES


def _is_well(found: Found) -> bool:
    """Tell whether a server answers questions."""
    try:
        ServerSession(found.url, found.token, HEALTH_TIMEOUT_S).get_json(HEALTH_PATH)
    except FdssError:
        return False
    return True
