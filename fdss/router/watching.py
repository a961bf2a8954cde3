"""The two loops that keep one server known: its health, and what it offers.

Every server has threads of its own, so one that is slow delays nothing but itself.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fdss.wire.names import DATASETS_PATH, HEALTH_PATH, HUB_CACHE_PATH, LOCAL_PATH

from .asking import Asker, AskFailed
from .knowledge import Knowledge, Server, suspected
from .loops import Loop
from .membership import Member
from .offers import Load, Offer, Policy

#: Its own: a program may have seeded the one of the module.
_RANDOM = random.Random()

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rhythm:
    """How often a server is asked, and how long an answer may take, in seconds.

    Attributes:
        health_s: Between health checks that pass.
        retry_s: After the first health check that fails; twice as long after each further one.
        refresh_s: Between questions for what it offers, once it has answered.
        cold_refresh_s: Between them before that, and after one that failed.
    """

    health_s: float = 10.0
    health_timeout_s: float = 5.0
    retry_s: float = 1.0
    refresh_s: float = 60.0
    cold_refresh_s: float = 10.0
    refresh_timeout_s: float = 10.0


class Watch:
    """The loops of one member, from ``start`` to ``stop``."""

    def __init__(
        self,
        member: Member,
        knowledge: Knowledge,
        rhythm: Rhythm,
        on_news: Callable[[], None],
    ) -> None:
        """Name the member; nothing is sent yet.

        Args:
            on_news: Called when it has told what it offers.
        """
        self.member = member
        self._knowledge = knowledge
        self._rhythm = rhythm
        self._on_news = on_news
        self._askers = Asker(member), Asker(member)
        self._health = Loop(f"fdss-health-{member.server_id}", self._check_health)
        self._refresh = Loop(f"fdss-refresh-{member.server_id}", self._ask_offer)
        self._failures = 0

    def start(self) -> None:
        """Ask for its health at once, and for its offer as soon as it is healthy."""
        self._health.start()
        self._refresh.start()

    def wake(self) -> None:
        """Ask for both at once."""
        self._health.wake()
        self._refresh.wake()

    def check(self) -> None:
        """Ask for its health at once."""
        self._health.wake()

    def stop(self) -> None:
        """Ask no more; what is under way ends by itself."""
        self._health.stop()
        self._refresh.stop()

    def close(self, until_s: float) -> None:
        """Stop and wait until a time of the monotonic clock, then close the connections."""
        self.stop()
        for loop, asker in zip((self._health, self._refresh), self._askers, strict=True):
            loop.join(max(0.0, until_s - time.monotonic()))
            asker.close()

    def _check_health(self) -> float:
        begun_s = time.perf_counter()
        try:
            health = self._askers[0].get(HEALTH_PATH, self._rhythm.health_timeout_s)
        except AskFailed as error:
            return self._failed(error)
        latency_s = time.perf_counter() - begun_s
        self._failures = 0
        policy, load = Policy.from_health(health), Load.from_health(health)
        before = self._knowledge.get(self.member.server_id)
        self._change(
            lambda server: replace(
                server,
                is_healthy=True,
                latency_s=latency_s,
                health=server.health.passed(time.time()),
                policy=policy,
                load=load,
            )
        )
        if before is not None and not before.is_healthy:
            logger.info("%s is healthy", self._shown)
            self._refresh.wake()
        # Routers and servers that start together need not stay in step.
        return self._rhythm.health_s * _RANDOM.uniform(0.9, 1.1)

    def _failed(self, error: AskFailed) -> float:
        before = self._knowledge.get(self.member.server_id)
        self._change(
            lambda server: replace(
                suspected(server, self._knowledge.now_s()),
                is_healthy=False,
                latency_s=None,
                load=None,
                health=server.health.missed(time.time(), str(error), error.status),
            )
        )
        if before is not None and before.is_healthy is not False:
            logger.warning("%s is down: %s", self._shown, error)
        pause_s = self._rhythm.retry_s * 2.0 ** min(self._failures, 10)
        self._failures += 1
        return min(pause_s, self._rhythm.health_s)

    def _ask_offer(self) -> float:
        known = self._knowledge.get(self.member.server_id)
        if known is None or not known.is_healthy:
            # The health loop wakes this one.
            return self._rhythm.refresh_s
        timeout_s = self._rhythm.refresh_timeout_s
        try:
            answers = [
                self._askers[1].get(path, timeout_s)
                for path in (LOCAL_PATH, HUB_CACHE_PATH, DATASETS_PATH)
            ]
        except AskFailed as error:
            return self._kept(error)
        offer = Offer.from_answers(*answers)
        self._change(
            lambda server: replace(server, offer=offer, refresh=server.refresh.passed(time.time()))
        )
        self._on_news()
        return self._rhythm.refresh_s

    def _kept(self, error: AskFailed) -> float:
        before = self._knowledge.get(self.member.server_id)
        self._change(
            lambda server: replace(
                server, refresh=server.refresh.missed(time.time(), str(error), error.status)
            )
        )
        if before is not None and not before.refresh.consecutive_failed:
            logger.warning("%s does not tell what it offers: %s", self._shown, error)
        return self._rhythm.cold_refresh_s

    def _change(self, change: Callable[[Server], Server]) -> None:
        self._knowledge.change(self.member.server_id, change)

    @property
    def _shown(self) -> str:
        return f"server {self.member.server_id} at {self.member.base_url}"
