"""Which server a dataset is read from: one that is named, or one that a router chooses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from fdss.arguments import LoadArguments
from fdss.errors import FdssError, PageForeign, Unavailable
from fdss.wire.names import ROUTER_RESOLVE_PATH

from .session import ServerSession

#: How long a server that failed is avoided; twice as long each time, up to the second.
AVOIDED_S = 15.0
LONGEST_AVOIDED_S = 240.0


@dataclass(frozen=True)
class Found:
    """A server to read from.

    Attributes:
        token: Its bearer token; None lets the session look for one.
        server_id: Names it to the router; its URL where there is none.
    """

    url: str
    token: str | None
    server_id: str


class Finder(Protocol):
    """Says which server to load a dataset from."""

    @property
    def can_choose(self) -> bool:
        """Tell whether another server may be found when one fails."""

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return the server to load from next.

        Args:
            fingerprint: Of the rows that a job reads; None if any will do.

        Raises:
            FdssError: None is found.
        """

    def suspect(self, found: Found) -> None:
        """Avoid a server that failed for a while, if there are others."""

    def refuse(self, found: Found, error: FdssError) -> None:
        """Never find a server again that gave an answer which will not change."""


@dataclass(frozen=True)
class OneServer:
    """The server whose URL the job was given."""

    url: str
    token: str | None = None
    can_choose: bool = False

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return it."""
        return Found(self.url, self.token, self.url)

    def suspect(self, found: Found) -> None:
        """Do nothing: there is no other."""

    def refuse(self, found: Found, error: FdssError) -> None:
        """Do nothing: whoever got the answer raises it."""


class ClusterRouter:
    """The servers of a cluster, of which its router chooses one."""

    can_choose = True

    def __init__(self, session: ServerSession) -> None:
        """Take a session with the router; nothing is sent yet."""
        self._session = session
        self._avoided: dict[str, tuple[float, float]] = {}
        self._refused: dict[str, FdssError] = {}

    def __repr__(self) -> str:
        return f"ClusterRouter({self._session.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        # The clock of another process may be another clock.
        return {**self.__dict__, "_avoided": {}}

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return the server that the router chooses, one that has not failed if it can.

        Raises:
            NobodyServes: No server of the cluster has the dataset.
            Unavailable: The router does not know yet, or all servers are down.
            ServerUnreachable: The router does not answer.
            FdssError: The router refuses, or every server has refused.
        """
        now_s = time.monotonic()
        suspects = {key for key, (until_s, _) in self._avoided.items() if until_s > now_s}
        found = self._first(arguments, fingerprint, suspects)
        if found.server_id in self._refused:
            raise self._refused[found.server_id]
        return found

    def suspect(self, found: Found) -> None:
        """Avoid a server for a while: twice as long as the last time."""
        _, last_s = self._avoided.get(found.server_id, (0.0, AVOIDED_S / 2))
        pause_s = min(2 * last_s, LONGEST_AVOIDED_S)
        self._avoided[found.server_id] = (time.monotonic() + pause_s, pause_s)

    def refuse(self, found: Found, error: FdssError) -> None:
        """Never take a server again."""
        self._refused[found.server_id] = error

    def _first(
        self, arguments: LoadArguments, fingerprint: str | None, suspects: Iterable[str]
    ) -> Found:
        """Return a server that is neither suspect nor refused; else one of those after all."""
        wider = [{*self._refused, *suspects}, {*self._refused}, set[str]()]
        for exclude, next_wider in zip(wider, wider[1:], strict=False):
            if exclude != next_wider:
                try:
                    return self._resolved(arguments, fingerprint, exclude)
                except Unavailable:
                    continue
        return self._resolved(arguments, fingerprint, ())

    def _resolved(
        self, arguments: LoadArguments, fingerprint: str | None, exclude: Iterable[str]
    ) -> Found:
        asked = {
            "path": arguments.path,
            "name": arguments.name,
            "split": arguments.split,
            "revision": arguments.revision,
            "fingerprint": fingerprint,
            "exclude": ",".join(sorted(exclude)),
        }
        query = urlencode({key: value for key, value in asked.items() if value})
        answer = self._session.get_json(f"{ROUTER_RESOLVE_PATH}?{query}")
        url, token = answer.get("base_url"), answer.get("auth_token")
        if not isinstance(url, str) or not isinstance(token, str | None):
            raise PageForeign(f"The router at {self._session.url} answered without a base_url.")
        return Found(url, token or None, str(answer.get("server_id") or url))
