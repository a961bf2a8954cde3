"""The parts of a router put together: members, what is known of them, and the choice."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from fdss.errors import NotFound

from .balance import Balance
from .candidates import Question
from .collecting import Collector, Trust
from .conflicts import Alarm
from .inventory import inventory, server_list
from .knowledge import Knowledge, Server
from .membership import Member, Membership
from .names import REGISTRY, registry_file
from .probing import Prober
from .proxy import Proxy
from .registrations import Registrations
from .registry import Registry
from .resolving import Resolver
from .watching import Rhythm, Watch

logger = logging.getLogger(__name__)


class Router:
    """Knows a cluster from ``start`` to ``close``, and answers questions about it.

    Attributes:
        knowledge: What it knows of each server.
        proxy: Asks members for others.
        registry: The servers that an operator has added.
    """

    def __init__(
        self,
        memberships: Sequence[Membership],
        trust: Trust | None = None,
        rhythm: Rhythm | None = None,
        *,
        is_guarded: bool = False,
    ) -> None:
        """Take what says who belongs to the cluster; nothing is asked yet.

        Args:
            memberships: Earlier ones win; closed with the router.
            is_guarded: Whether only those with its token can ask it.
        """
        self._started_at_s = time.time()
        self._rhythm = rhythm or Rhythm()
        self.knowledge = Knowledge()
        self._alarm = Alarm()
        self._prober = Prober(self.knowledge, self._look_for_conflicts)
        self._resolver = Resolver(self.knowledge, self._prober, Balance(self.knowledge))
        self._collector = Collector(memberships, self.knowledge, trust or Trust(), self._watch)
        self._registry = Registry(registry_file())
        self.proxy = Proxy(self.member)
        self.registry = Registrations(
            self._registry, self.member, self._collector.look, is_guarded=is_guarded
        )

    def start(self) -> None:
        """Begin to know."""
        self._collector.start()

    def close(self) -> None:
        """Stop all threads and close all connections."""
        self._prober.close()
        self._collector.close()

    def __enter__(self) -> Router:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def resolve(self, question: Question) -> Server:
        """Return the server a client is to read from; those that failed it are checked at once.

        Raises:
            Unavailable: It is not known yet, or whoever has the dataset is down.
            NobodyServes: No server has the dataset or may get it, up or down.
        """
        for server_id in question.excluded:
            if self.knowledge.complain(server_id, question.client):
                logger.warning("server %s has failed a client and is checked", server_id)
                self._collector.check(server_id)
        return self._resolver.resolve(question)

    def refresh(self) -> None:
        """Ask everybody for everything again, soon."""
        self._collector.wake()

    def inventory(self) -> dict[str, Any]:
        """Return what is known, without tokens."""
        return inventory(self.knowledge, self._started_at_s)

    def server_list(self) -> dict[str, Any]:
        """Return the servers, without tokens."""
        return server_list(self.knowledge)

    @property
    def conflicts(self) -> int:
        """Return how many names stand for different rows, as was last seen."""
        return len(self._alarm)

    def member(self, server_id: str) -> Member:
        """Return a member of the cluster, also one that was registered a moment ago.

        Raises:
            NotFound: No member has that id, or it is registered no more.
        """
        known = self.knowledge.get(server_id)
        try:
            entries = self._registry.entries()
        except OSError:
            entries = None
        for entry in entries or ():
            if entry.member.server_id == server_id:
                token = entry.member.auth_token or (known.member.auth_token if known else "")
                return replace(entry.member, auth_token=token)
        if known is None or (entries is not None and known.member.source == REGISTRY):
            raise NotFound(
                f"No server of the cluster has the id {server_id[:80]!r}.",
                hint="fdss cluster servers lists them",
            )
        return known.member

    def _watch(self, member: Member) -> Watch:
        return Watch(member, self.knowledge, self._rhythm, self._look_for_conflicts)

    def _look_for_conflicts(self) -> None:
        self._alarm.look(self.knowledge.servers())
