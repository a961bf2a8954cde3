"""Attempts to get in without the token, told in the log without filling it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: One line a client in so many seconds; it says how many attempts there were.
EVERY_S = 10.0
#: Clients that are told apart; those beyond are counted as one.
MOST_CLIENTS = 1000
OTHERS = "other addresses"

logger = logging.getLogger(__name__)


@dataclass
class _Attempts:
    told_s: float
    missing: int = 0
    wrong: int = 0


class Failures:
    """Tells the first failed attempt of an address at once, and later ones together."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: dict[str, _Attempts] = {}
        self._due_s = float("inf")

    def note(self, address: str, *, has_token: bool) -> None:
        """Count an attempt.

        Args:
            has_token: Whether it had a token, a wrong one, or none at all.
        """
        now_s = self._clock()
        with self._lock:
            if address not in self._attempts and len(self._attempts) >= MOST_CLIENTS:
                address = OTHERS
            found = self._attempts.get(address)
            is_first = found is None
            if found is None:
                found = self._attempts[address] = _Attempts(now_s)
                self._due_s = min(self._due_s, now_s + EVERY_S)
            else:
                found.wrong += has_token
                found.missing += not has_token
        if is_first:
            what = "a wrong token" if has_token else "no token"
            logger.warning("%s asked with %s and was refused", address, what)

    def tell_due(self) -> None:
        """Tell what has been counted for long enough; costs nothing before."""
        now_s = self._clock()
        if now_s < self._due_s:
            return
        lines = []
        with self._lock:
            for address, found in list(self._attempts.items()):
                if now_s - found.told_s < EVERY_S:
                    continue
                if not found.wrong and not found.missing:
                    del self._attempts[address]
                    continue
                lines.append((address, found.wrong, found.missing, now_s - found.told_s))
                self._attempts[address] = _Attempts(now_s)
            self._due_s = EVERY_S + min(
                (found.told_s for found in self._attempts.values()), default=float("inf")
            )
        for line in lines:
            logger.warning(
                "%s asked %d times with a wrong token and %d times with none in %.0f s"
                " and was refused",
                *line,
            )
