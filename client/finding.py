"""Which server a dataset is read from: one that is named, or one that a router chooses."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from fdss.arguments import LoadArguments
from fdss.errors import FdssError, PageForeign, Unavailable
from fdss.hosts import is_loopback
from fdss.wire.names import ROUTER_RESOLVE_PATH

from .remote import UNKNOWN
from .session import ServerSession

#: How long a server that failed is avoided; twice as long each time, up to the second. After as
#: long without a failure it is forgotten.
AVOIDED_S = 15.0
LONGEST_AVOIDED_S = 240.0
#: How long a server that refused is not asked again: an operator may have set it right by then.
REFUSED_S = 600.0


@dataclass(frozen=True)
class Found:
    """A server to read from.

    Attributes:
        token: Its bearer token; None lets the session look for one.
        server_id: Names it to the router; its URL where there is none.
    """

    url: str
    token: str | None = field(repr=False)
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
        """Leave out a server that gave an answer which waiting does not change."""


@dataclass(frozen=True)
class OneServer:
    """The server whose URL the job was given."""

    url: str
    token: str | None = field(default=None, repr=False)
    can_choose: bool = False

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return it."""
        return Found(self.url, self.token, self.url)

    def suspect(self, found: Found) -> None:
        """Do nothing: there is no other."""

    def refuse(self, found: Found, error: FdssError) -> None:
        """Do nothing: whoever got the answer raises it."""


@dataclass
class _Standing:
    """What became of a server for this job.

    Attributes:
        until_s: When it is no longer avoided.
        pause_s: How long it was avoided last.
        refusal: What it answered that waiting does not change; None if it did not.
    """

    until_s: float = 0.0
    pause_s: float = AVOIDED_S / 2
    refusal: FdssError | None = None


class ClusterRouter:
    """The servers of a cluster, of which its router chooses one."""

    can_choose = True

    def __init__(self, session: ServerSession) -> None:
        """Take a session with the router; nothing is sent yet."""
        self._session = session
        self._standings: dict[str, _Standing] = {}

    def __repr__(self) -> str:
        return f"ClusterRouter({self._session.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        # The clock of another process may be another clock.
        return {**self.__dict__, "_standings": {}}

    def find(self, arguments: LoadArguments, fingerprint: str | None) -> Found:
        """Return the server that the router chooses, one that has not failed if it can.

        Raises:
            NobodyServes: No server of the cluster has the dataset.
            Unavailable: The router does not know yet, or all servers are down.
            ServerUnreachable: The router does not answer.
            FdssError: The router refuses, or every server that was found has refused.
        """
        now_s = time.monotonic()
        bad = {key: one for key, one in self._standings.items() if one.until_s > now_s}
        refusals = {key: one.refusal for key, one in bad.items() if one.refusal is not None}
        asked = _Question(arguments, fingerprint)
        # Whoever failed a moment ago may be all there is.
        wider: list[Iterable[str]] = [bad, refusals, ()] if bad else [bad]
        refusal: FdssError = Unavailable("No server is up but those that have refused.")
        for exclude in wider:
            try:
                found = self._found(asked, exclude)
            except Unavailable as error:
                refusal = error
                continue
            if found.server_id not in refusals:
                return found
            if self._standings.keys() == refusals.keys():
                raise refusals[found.server_id]
        raise refusal

    def suspect(self, found: Found) -> None:
        """Avoid a server for a while: twice as long as the last time, if that was lately."""
        now_s = time.monotonic()
        known = self._standings.setdefault(found.server_id, _Standing())
        if now_s < known.until_s:
            # Another reader has lost it too.
            return
        if now_s - known.until_s > LONGEST_AVOIDED_S:
            known.pause_s = AVOIDED_S / 2
        known.pause_s = min(2 * known.pause_s, LONGEST_AVOIDED_S)
        known.until_s, known.refusal = now_s + known.pause_s, None

    def avoided_s(self, found: Found) -> float:
        """Return the seconds that a server is still avoided for; 0 for not."""
        known = self._standings.get(found.server_id, _Standing())
        return max(0.0, known.until_s - time.monotonic())

    def refuse(self, found: Found, error: FdssError) -> None:
        """Leave out a server for ten minutes."""
        until_s = time.monotonic() + REFUSED_S
        # With its traceback it would keep what the reader held.
        self._standings[found.server_id] = _Standing(until_s, refusal=error.with_traceback(None))

    def _found(self, asked: _Question, exclude: Iterable[str]) -> Found:
        query = urlencode(asked.parameters(exclude))
        answer = self._session.get_json(f"{ROUTER_RESOLVE_PATH}?{query}")
        url, token = answer.get("base_url"), answer.get("auth_token")
        if not isinstance(url, str) or not isinstance(token, str | None):
            raise PageForeign(f"The router at {self._session.url} answered without a base_url.")
        if self._session.url.startswith("https:") and not _is_as_safe(url):
            raise PageForeign(
                f"The router at {self._session.url} names {url}, a server without TLS.",
                hint="a job that asks its router over https reads over https, or on this machine",
            )
        found = Found(url, token or None, str(answer.get("server_id") or url))
        self._standings.setdefault(found.server_id, _Standing())
        return found


def _is_as_safe(url: str) -> bool:
    """Tell whether nobody on the network can read what is sent to a server, its token above all."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


@dataclass(frozen=True)
class _Question:
    """What a router is asked."""

    arguments: LoadArguments
    fingerprint: str | None

    def parameters(self, exclude: Iterable[str]) -> dict[str, str]:
        """Return the parameters of the query.

        Args:
            exclude: Ids of servers to leave out.
        """
        files = self.arguments.data_files
        fingerprint = self.fingerprint or ""
        asked = {
            "path": self.arguments.path,
            "name": self.arguments.name,
            "split": self.arguments.split,
            "data_files": None if files is None else json.dumps(files),
            "revision": self.arguments.revision,
            # A server from before FDSS has none that a router could know.
            "fingerprint": None if fingerprint.startswith(UNKNOWN) else fingerprint,
            "exclude": ",".join(sorted(exclude)),
        }
        return {key: value for key, value in asked.items() if value}
