"""What the router knows of each server: how it is, what it offers, and how old that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .membership import Member
from .offers import Load, Offer, Policy

#: How long a server that failed a client comes after all others.
SUSPECTED_S = 10.0
#: How long the first server that answers waits for the others before clients are answered.
WARM_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Tally:
    """How often something was asked, and how that went; times are seconds since the epoch."""

    total: int = 0
    failed: int = 0
    consecutive_failed: int = 0
    last_at_s: float | None = None
    last_good_at_s: float | None = None
    last_error: str | None = None

    def passed(self, now_s: float) -> Tally:
        """Return the tally after an answer."""
        return Tally(self.total + 1, self.failed, 0, now_s, now_s, None)

    def missed(self, now_s: float, error: str) -> Tally:
        """Return the tally after a failure."""
        return Tally(
            self.total + 1,
            self.failed + 1,
            self.consecutive_failed + 1,
            now_s,
            self.last_good_at_s,
            error,
        )


@dataclass(frozen=True)
class Probe:
    """The answer of a server that was asked to load a dataset.

    Attributes:
        fingerprint: Its content; None if it was not loaded.
        is_refused: Whether asking again would be answered the same.
        at_s: When, on the monotonic clock.
    """

    fingerprint: str | None
    is_refused: bool
    at_s: float


@dataclass(frozen=True)
class Server:
    """One member, and what is known of it; replaced as a whole when anything changes.

    Attributes:
        is_healthy: Whether its last health check passed; None before the first.
        offer: Its last good answers; None before the first.
        suspected_until_s: On the monotonic clock; 0.0 if it never failed a client.
        probes: By the handle of the load arguments.
    """

    member: Member
    is_healthy: bool | None = None
    health: Tally = field(default_factory=Tally)
    refresh: Tally = field(default_factory=Tally)
    policy: Policy = field(default_factory=Policy)
    load: Load | None = None
    offer: Offer | None = None
    suspected_until_s: float = 0.0
    probes: Mapping[str, Probe] = field(default_factory=dict)

    @property
    def server_id(self) -> str:
        """Return the name of the member."""
        return self.member.server_id

    def fingerprint_of(self, handle: str) -> str | None:
        """Return the content of what a handle names, if it is known."""
        probe = self.probes.get(handle)
        if probe is not None and probe.fingerprint is not None:
            return probe.fingerprint
        return self.offer.fingerprints.get(handle) if self.offer else None


class Knowledge:
    """Every server of the cluster; threads may share it.

    Attributes:
        collected_at_s: When the membership was last known, in seconds since the epoch; or None.
        collect_error: Why it is not known now; or None.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self.collected_at_s: float | None = None
        self.collect_error: str | None = None
        self._lock = threading.Lock()
        self._servers: dict[str, Server] = {}
        self._first_offer_at_s: float | None = None

    @property
    def is_warm(self) -> bool:
        """Return whether a server has told what it offers, and the others have had their time."""
        with self._lock:
            if self._first_offer_at_s is None:
                return False
            if self.now_s() - self._first_offer_at_s >= WARM_PATIENCE_S:
                return True
            return all(
                server.offer or server.is_healthy is False or server.refresh.failed
                for server in self._servers.values()
            )

    def servers(self) -> list[Server]:
        """Return every server, by id."""
        with self._lock:
            return [self._servers[server_id] for server_id in sorted(self._servers)]

    def get(self, server_id: str) -> Server | None:
        """Return a server; None if it is not a member."""
        with self._lock:
            return self._servers.get(server_id)

    def set_members(self, members: Iterable[Member]) -> None:
        """Keep what is known of those that stay, and forget the others."""
        with self._lock:
            known = self._servers
            self._servers = {}
            for member in members:
                before = known.get(member.server_id)
                self._servers[member.server_id] = (
                    replace(before, member=member) if before else Server(member)
                )

    def change(self, server_id: str, change: Callable[[Server], Server]) -> None:
        """Replace what is known of a server; one that has left stays forgotten."""
        with self._lock:
            if server_id not in self._servers:
                return
            changed = self._servers[server_id] = change(self._servers[server_id])
            if changed.offer is not None and self._first_offer_at_s is None:
                self._first_offer_at_s = self.now_s()

    def suspect(self, server_id: str) -> bool:
        """Let a server come after all others for a while, and forget what it held.

        Returns:
            Whether it was above suspicion before, and there is such a server.
        """
        now_s = self.now_s()
        before = self.get(server_id)
        is_new = before is not None and before.suspected_until_s <= now_s
        until_s = now_s + SUSPECTED_S

        def suspected(server: Server) -> Server:
            probes = {} if is_new else server.probes
            return replace(server, suspected_until_s=until_s, probes=probes)

        self.change(server_id, suspected)
        return is_new
