"""How a dataset server tells a cluster that it is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from fdss.errors import SettingError
from fdss.hosts import url_of

from .loops import Loop
from .membership import Member
from .names import MDNS, REDIS_SCHEMES, shown_url

RETRY_S = 3.0
FAREWELL_S = 5.0
WILDCARDS = ("0.0.0.0", "::", "[::]")

logger = logging.getLogger(__name__)


class Presence(Protocol):
    """One way of being seen."""

    @property
    def every_s(self) -> float:
        """Return how many seconds may pass until it is shown again."""

    def show(self) -> None:
        """Tell once more that the server is there.

        Raises:
            OSError: Nobody can be told now.
        """

    def close(self) -> None:
        """Say goodbye and release what it holds."""


class Announcement:
    """A server's presence, kept up by a thread until ``close``."""

    def __init__(self, presence: Presence, where: str) -> None:
        """Begin at once.

        Args:
            where: What it is shown in, for the log.
        """
        self._presence = presence
        self._where = where
        self._is_seen: bool | None = None
        self._loop = Loop("fdss-announcement", self._turn)
        self._loop.start()

    def close(self) -> None:
        """Say goodbye."""
        self._loop.stop()
        self._loop.join(FAREWELL_S)
        self._presence.close()

    def __enter__(self) -> Announcement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _turn(self) -> float:
        try:
            self._presence.show()
        except OSError as error:
            if self._is_seen is not False:
                logger.warning("the cluster is not told of this server: %s", error)
            self._is_seen = False
            return min(RETRY_S, self._presence.every_s)
        if not self._is_seen:
            logger.info("the cluster is told of this server (%s)", self._where)
        self._is_seen = True
        return self._presence.every_s


def announce(
    membership: str, cluster: str, member: Member, interfaces: Sequence[str] = ()
) -> Announcement:
    """Return the announcement of a server, begun; the same words as for the router say where.

    Args:
        membership: ``mdns``, or the URL of a Redis.
        interfaces: Addresses of the interfaces for mDNS; empty for all.

    Raises:
        SettingError: The membership is neither of them.
    """
    if member.is_loopback:
        logger.warning(
            "the cluster is told of %s, where only this machine reaches it", member.base_url
        )
    if urlsplit(membership).scheme in REDIS_SCHEMES:
        from .redis_members import RedisPresence

        return Announcement(RedisPresence(membership, cluster, member), shown_url(membership))
    if membership == MDNS:
        from .mdns import MdnsPresence

        return Announcement(MdnsPresence(cluster, member, interfaces), MDNS)
    raise SettingError(
        f"A server cannot announce itself in {membership!r}.",
        hint="mdns or redis://HOST:6379/0; a registry file is written by fdss router add",
    )


def announced_url(host: str, port: int, scheme: str = "http") -> str:
    """Return the URL by which other machines reach a server; a wildcard becomes an address."""
    if host not in WILDCARDS:
        return url_of(host, port, scheme)
    from .mdns import outer_addresses

    return url_of(outer_addresses()[0], port, scheme)
