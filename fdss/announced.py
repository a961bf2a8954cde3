"""A server in its cluster: announced for as long as it runs, and anew when its token changes."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from fdss.config import ServerConfig
from fdss.router.announcing import Announcement, announce, announced_url
from fdss.router.membership import Member


class Announced:
    """What a cluster is told of a server; of one that names no cluster, nothing."""

    def __init__(self, config: ServerConfig, url: str) -> None:
        """Announce a server.

        Args:
            config: With the real port and the token.
            url: Its address on this machine, which tells the scheme.

        Raises:
            SettingError: The membership is none.
        """
        self._scheme = urlsplit(url).scheme
        self._member: Member | None = None
        self._announcement: Announcement | None = None
        self.tell(config)

    def tell(self, config: ServerConfig) -> None:
        """Announce what has changed, if something has."""
        if config.cluster is None:
            return
        url = announced_url(config.host, config.port, self._scheme)
        label = f"{socket.gethostname()}:{config.port}"
        member = Member(url, config.auth_token or "", label)
        if member != self._member:
            self.close()
            self._member = member
            self._announcement = announce(config.announced_in, config.cluster, member)

    def close(self) -> None:
        """Say goodbye."""
        if self._announcement is not None:
            self._announcement.close()
        self._announcement = None
