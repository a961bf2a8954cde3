"""What the router knows of each server: how it is, what it offers, and how old that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from .membership import Member
from .names import REGISTRY
from .offers import Load, Offer, Policy

#: How long a server that is suspected comes after all others, and a complaint counts.
SUSPECTED_S = 10.0
#: How many clients have to complain of a server before others are kept from it.
COMPLAINTS = 2
#: How soon another complaint may have the health of a server checked again.
CHECK_S = 1.0
#: How long a server that left without an operator's doing may come back, and how many are kept.
DEPARTED_S = 900.0
MOST_DEPARTED = 256
#: How long the first server that answers waits for the others before clients are answered.
WARM_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Tally:
    """How often something was asked, and how that went; times are seconds since the epoch.

    Attributes:
        last_status: HTTP status of the last answer, if that was a failure; or None.
    """

    total: int = 0
    failed: int = 0
    consecutive_failed: int = 0
    last_at_s: float | None = None
    last_good_at_s: float | None = None
    last_error: str | None = None
    last_status: int | None = None

    def passed(self, now_s: float) -> Tally:
        """Return the tally after an answer."""
        return Tally(self.total + 1, self.failed, 0, now_s, now_s, None)

    def missed(self, now_s: float, error: str, status: int | None = None) -> Tally:
        """Return the tally after a failure."""
        return Tally(
            self.total + 1,
            self.failed + 1,
            self.consecutive_failed + 1,
            now_s,
            self.last_good_at_s,
            error,
            status,
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
        latency_s: How long that took; None if it failed.
        offer: Its last good answers; None before the first.
        suspected_until_s: On the monotonic clock; 0.0 if it was never suspected.
        complaints: When each of the last clients that it failed said so, on the monotonic clock.
        probes: By the handle of the load arguments.
        since_s: When it became known, on the monotonic clock.
    """

    member: Member
    is_healthy: bool | None = None
    latency_s: float | None = None
    health: Tally = field(default_factory=Tally)
    refresh: Tally = field(default_factory=Tally)
    policy: Policy = field(default_factory=Policy)
    load: Load | None = None
    offer: Offer | None = None
    suspected_until_s: float = 0.0
    complaints: Mapping[str, float] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    since_s: float = 0.0

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
        self._departed: dict[str, tuple[float, Server]] = {}
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

    def departed(self) -> list[Server]:
        """Return those that left lately and may come back, by id, as they were last known."""
        with self._lock:
            self._forget_departed()
            return [self._departed[server_id][1] for server_id in sorted(self._departed)]

    def get(self, server_id: str) -> Server | None:
        """Return a server; None if it is not a member."""
        with self._lock:
            return self._servers.get(server_id)

    def set_members(self, members: Iterable[Member]) -> None:
        """Keep what is known of those that stay, and for a while of those that leave.

        A host that reboots leaves, as does a service that is restarted. Whoever an operator takes
        out of the registry is forgotten at once.
        """
        now_s = self.now_s()
        with self._lock:
            left = self._servers
            self._servers = {}
            for member in members:
                server_id = member.server_id
                before = left.pop(server_id, None) or self._returned(server_id)
                self._servers[server_id] = (
                    replace(before, member=member) if before else Server(member, since_s=now_s)
                )
            for server_id, server in left.items():
                if server.offer is not None and server.member.source != REGISTRY:
                    self._departed[server_id] = now_s, server
            self._forget_departed()

    def _returned(self, server_id: str) -> Server | None:
        _, server = self._departed.pop(server_id, (0.0, None))
        if server is None:
            return None
        # What it offers is what it had; whether it is well has to be seen.
        return replace(server, is_healthy=None, load=None, probes={})

    def _forget_departed(self) -> None:
        # Whoever left first stands first.
        for server_id, (left_at_s, _) in list(self._departed.items()):
            is_over = self.now_s() - left_at_s >= DEPARTED_S
            if not is_over and len(self._departed) <= MOST_DEPARTED:
                return
            del self._departed[server_id]

    def change(self, server_id: str, change: Callable[[Server], Server]) -> None:
        """Replace what is known of a server; one that has left stays forgotten."""
        with self._lock:
            if server_id not in self._servers:
                return
            changed = self._servers[server_id] = change(self._servers[server_id])
            if changed.offer is not None and self._first_offer_at_s is None:
                self._first_offer_at_s = self.now_s()

    def complain(self, server_id: str, client: str) -> bool:
        """Note that a server failed a client, and forget what it held.

        A client may be wrong, or the only one that cannot reach it: others are kept from the
        server when a second one complains, or when its health check fails.

        Args:
            client: What tells clients apart.

        Returns:
            Whether its health should be checked: nobody complained of it a moment ago.
        """
        now_s = self.now_s()
        before = self.get(server_id)
        last_s = max(before.complaints.values(), default=-CHECK_S) if before else now_s
        self.change(server_id, lambda server: _complained(server, client, now_s))
        return now_s - last_s >= CHECK_S


def suspected(server: Server, now_s: float) -> Server:
    """Return a server that comes after all others for a while."""
    return replace(server, suspected_until_s=now_s + SUSPECTED_S)


def _complained(server: Server, client: str, now_s: float) -> Server:
    recent = {who: at for who, at in server.complaints.items() if now_s - at < SUSPECTED_S}
    others = [who for who in recent if who != client]
    kept = {who: recent[who] for who in others[1 - COMPLAINTS :]}
    noted = replace(
        server,
        complaints={**kept, client: now_s},
        probes=server.probes if client in recent else {},
    )
    return suspected(noted, now_s) if len(noted.complaints) >= COMPLAINTS else noted
