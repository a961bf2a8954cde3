"""The settings of a server that runs, read again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from fdss.authentication import settle
from fdss.config import ServerConfig
from fdss.errors import SettingError
from fdss.settings import BY_KEY

#: Read again on SIGHUP. The token is settled with them; other settings need a restart.
RELOADABLE = (
    "log_level",
    "local",
    "preload",
    "no_hf",
    "allow_paths",
    "show_paths",
    "stall_timeout",
    "idle_timeout",
    "request_timeout",
    "drain_timeout",
)
TOKEN_KEYS = ("auth_token", "auth_token_file")
#: They say what to do at a start, and nothing afterwards.
ONLY_AT_START = ("regen_token", "quiet_tokens")

Reader = Callable[[], ServerConfig]

logger = logging.getLogger(__name__)


class Reloader:
    """Reads a server's settings again, and says what becomes of each change.

    The token is settled as at a start but for ``regen_token``: a token file that was changed
    counts, one that was removed is made anew.
    """

    def __init__(self, given: ServerConfig, running: ServerConfig, read: Reader) -> None:
        """Start with what is in force.

        Args:
            given: The settings as they were read.
            running: The same with port and token settled.
            read: Reads flags and file again; raises SettingError.
        """
        self._given = given
        self._running = running
        self._read = read

    def reloaded(self) -> ServerConfig | None:
        """Return what is in force from now on; None, and a line in the log, after a mistake."""
        try:
            fresh = self._read()
            token = self._token(fresh)
        except SettingError as error:
            logger.error("configuration is not reloaded, nothing changes: %s", error.message)
            return None
        changed = [key for key in BY_KEY if getattr(fresh, key) != getattr(self._given, key)]
        self._tell(changed, token)
        taken = {key: getattr(fresh, key) for key in RELOADABLE}
        self._given = replace(self._given, **taken)
        self._running = replace(self._running, **taken, auth_token=token)
        return self._running

    def _token(self, fresh: ServerConfig) -> str | None:
        if fresh.no_auth != self._given.no_auth:
            return self._running.auth_token
        host, port = self._running.host, self._given.port
        settled = replace(fresh, host=host, port=port, regen_token=False)
        return settle(settled, self._running.port).token

    def _tell(self, changed: list[str], token: str | None) -> None:
        taken = [key for key in changed if key in RELOADABLE]
        if token != self._running.auth_token:
            taken.append("the token")
        logger.info("configuration reloaded; changed: %s", ", ".join(taken) or "nothing")
        known = {*RELOADABLE, *TOKEN_KEYS, *ONLY_AT_START}
        waiting = [key for key in changed if key not in known]
        if waiting:
            logger.warning("changes of %s need a restart", ", ".join(waiting))
