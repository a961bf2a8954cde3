"""The loop that knows who belongs to the cluster, and keeps one watch a member."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .knowledge import Knowledge
from .loops import Loop
from .membership import Member, Membership
from .names import MDNS
from .watching import Watch

#: The longest time between two looks at a membership.
COLLECT_S = 10.0
#: How long the end waits for questions under way, and how long a member that has left may answer.
FAREWELL_S = 2.0
LAST_ANSWER_S = 60.0
#: How many announcements that are not believed are logged.
MOST_IGNORED = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trust:
    """What members are believed and told.

    Attributes:
        shared_token: Sent to members that no membership gives a token for; or None.
        insecure: Believe announcements of servers without TLS, and send them tokens.
    """

    shared_token: str | None = None
    insecure: bool = False


class Collector:
    """Keeps the members known, those of all memberships together; earlier ones win."""

    def __init__(
        self,
        memberships: Sequence[Membership],
        knowledge: Knowledge,
        trust: Trust,
        watch: Callable[[Member], Watch],
    ) -> None:
        """Take the memberships, which are closed with the collector; nothing is asked yet.

        Args:
            watch: Makes the watch of a new member, not yet started.
        """
        self._memberships = memberships
        self._knowledge = knowledge
        self._trust = trust
        self._make_watch = watch
        self._known: list[list[Member]] = [[] for _ in memberships]
        self._errors: dict[int, str] = {}
        self._ignored: set[str] = set()
        self._lock = threading.Lock()
        self._watches: dict[str, Watch] = {}
        self._loop = Loop("fdss-collect", self._collect)

    def start(self) -> None:
        """Begin to look."""
        self._loop.start()

    def wake(self) -> None:
        """Look again at once, and ask every server again."""
        self._loop.wake()
        for watch in self._watched():
            watch.wake()

    def look(self) -> None:
        """Look at the memberships again at once."""
        self._loop.wake()

    def check(self, server_id: str) -> None:
        """Ask for the health of one server at once."""
        with self._lock:
            watch = self._watches.get(server_id)
        if watch is not None:
            watch.check()

    def close(self) -> None:
        """Stop everything, and wait for it."""
        until_s = time.monotonic() + FAREWELL_S
        self._loop.stop()
        self._loop.join(FAREWELL_S)
        watches = self._watched()
        for watch in watches:
            watch.stop()
        for watch in watches:
            watch.close(until_s)
        for membership in self._memberships:
            membership.close()

    def _watched(self) -> list[Watch]:
        with self._lock:
            return list(self._watches.values())

    def _collect(self) -> float:
        for place, membership in enumerate(self._memberships):
            try:
                self._known[place] = membership.members()
            except OSError as error:
                self._failed(place, error)
            else:
                if self._errors.pop(place, None):
                    logger.warning("the members of the cluster are known again")
        self._knowledge.collect_error = "; ".join(self._errors.values()) or None
        members = self._trusted(_united(self._known))
        self._knowledge.set_members(members.values())
        if not self._errors:
            self._knowledge.collected_at_s = time.time()
        self._adjust(members)
        return min([COLLECT_S, *(membership.every_s for membership in self._memberships)])

    def _failed(self, place: int, error: OSError) -> None:
        if place not in self._errors:
            logger.error("who belongs to the cluster is not known now, those known stay: %s", error)
        # What a caller is told names no file.
        self._errors[place] = error.strerror or str(error)

    def _trusted(self, members: Mapping[str, Member]) -> dict[str, Member]:
        trusted = {}
        for server_id, member in members.items():
            is_safe = member.is_private or self._trust.insecure
            if member.is_loopback and member.hostname not in ("", socket.gethostname()):
                self._ignore(member, f"that is an address of {member.hostname} itself")
                continue
            if member.source == MDNS and not is_safe:
                self._ignore(
                    member,
                    "it has no TLS, so anybody on the subnet could announce it "
                    "(--insecure believes it)",
                )
                continue
            shared = self._trust.shared_token if is_safe else None
            token = member.auth_token or shared or ""
            trusted[server_id] = replace(member, auth_token=token)
        return trusted

    def _ignore(self, member: Member, reason: str) -> None:
        if member.base_url not in self._ignored and len(self._ignored) < MOST_IGNORED:
            self._ignored.add(member.base_url)
            logger.warning("%s is announced and ignored: %s", member.base_url, reason)

    def _adjust(self, members: Mapping[str, Member]) -> None:
        with self._lock:
            gone = [
                server_id
                for server_id, watch in self._watches.items()
                if members.get(server_id) != watch.member
            ]
            left = [self._watches.pop(server_id) for server_id in gone]
            fresh = [
                self._make_watch(member)
                for server_id, member in members.items()
                if server_id not in self._watches
            ]
            self._watches.update({watch.member.server_id: watch for watch in fresh})
        for watch in left:
            # Its last question may take a while, and nothing may wait for it here.
            threading.Thread(
                target=watch.close,
                args=(time.monotonic() + LAST_ANSWER_S,),
                name="fdss-farewell",
                daemon=True,
            ).start()
            if watch.member.server_id not in members:
                logger.info("%s has left the cluster", watch.member.base_url)
        for watch in fresh:
            logger.info("%s belongs to the cluster", watch.member.base_url)
            watch.start()


def _united(lists: Sequence[Sequence[Member]]) -> dict[str, Member]:
    """Return all members by id; what an earlier list leaves open a later one tells."""
    united: dict[str, Member] = {}
    for members in lists:
        for member in members:
            first = united.get(member.server_id)
            united[member.server_id] = member if first is None else _filled(first, member)
    return united


def _filled(first: Member, second: Member) -> Member:
    if second.source == MDNS or first.auth_token:
        return first
    return replace(first, auth_token=second.auth_token)
