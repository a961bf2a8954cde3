"""How long and how often a job asks again while a server does not answer.

The pauses follow "full jitter" (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
2015): each is drawn evenly from nothing to a bound that doubles. Clients that lost one server at
one moment come back spread over that bound instead of all at once.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from dataclasses import dataclass

from fdss.errors import FdssError, OutageTooLong, SettingError, Unavailable

CAP_VARIABLE = "FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS"
STALL_VARIABLE = "FORGATHER_DATASET_CLIENT_STALL_SECONDS"
REMINDER_S = 60.0
#: Trouble that comes back sooner is the same trouble: the pauses go on growing.
CALM_S = 10.0

_log = logging.getLogger(__name__)
# Not the random module's own state: forked workers share it, and a job may have seeded it.
_draw = random.SystemRandom()


@dataclass(frozen=True)
class Patience:
    """How a client bears an outage.

    Attributes:
        first_s: Longest pause before the second try, in seconds; it doubles from try to try.
        longest_s: Where it stops doubling.
        most_s: Seconds without a row after which a job is given up; infinite for never.
        stall_s: Seconds without a byte after which a server counts as lost.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    most_s: float = math.inf
    stall_s: float = 60.0

    @classmethod
    def from_environment(cls) -> Patience:
        """Return the patience that the environment asks for.

        ``FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS`` is ``most_s``, without end if it is unset;
        ``FORGATHER_DATASET_CLIENT_STALL_SECONDS`` is ``stall_s``.

        Raises:
            SettingError: One of them is no number of seconds.
        """
        return cls(
            most_s=_seconds(CAP_VARIABLE, cls.most_s, "an outage may last for ever"),
            stall_s=_seconds(STALL_VARIABLE, cls.stall_s, f"it is {cls.stall_s:g}"),
        )

    def pause_s(self, tries: int) -> float:
        """Return how long to pause after so many tries in vain, 1 or more; drawn by chance."""
        bound_s = min(self.longest_s, self.first_s * 2.0 ** min(tries - 1, 64))
        return _draw.uniform(0.0, bound_s)


class Outages:
    """The times of trouble of one reader, each from the last row before to the first behind it.

    One is told in the log when it begins, once a minute while it lasts, and when it ends; of those
    that follow within a minute, as a bad link brings them, nothing is told.
    """

    def __init__(self, patience: Patience, waiting: str) -> None:
        """Begin without trouble.

        Args:
            waiting: What waits, for the log.
        """
        self._patience = patience
        self._waiting = waiting
        self._tries = 0
        self._is_on = self._is_told = False
        self._flowed_s = time.monotonic()
        self._ended_s = self._told_s = -math.inf

    @property
    def left_s(self) -> float:
        """Return the seconds that the patience has left; infinite without an end."""
        return self._patience.most_s - (time.monotonic() - self._flowed_s)

    @property
    def timeout_s(self) -> float:
        """Return how long the next try may wait for a byte."""
        return max(min(self._patience.stall_s, self.left_s), self._patience.first_s)

    def wait(self, error: FdssError) -> None:
        """Pause after a try in vain; a signal such as Ctrl-C ends the pause.

        Raises:
            OutageTooLong: The patience is at its end.
        """
        now_s = time.monotonic()
        if not self._is_on and now_s - self._ended_s > CALM_S:
            self._tries = 0
        self._is_on = True
        self._tries += 1
        if self.left_s <= 0:
            raise OutageTooLong(
                f"{self._waiting} waited {now_s - self._flowed_s:.1f} s: {error.message}",
                hint=f"{CAP_VARIABLE} is {self._patience.most_s:g}; {error.hint}".rstrip("; "),
            ) from error
        self._tell(error, now_s)
        pause_s = self._patience.pause_s(self._tries)
        if isinstance(error, Unavailable):
            # Those who were told the same time do not come back at the same time.
            pause_s += min(error.retry_after_s, self._patience.longest_s)
        time.sleep(min(pause_s, max(self.left_s, 0.0)))

    def end(self, where: str) -> None:
        """Say that rows flow."""
        if self._is_on:
            self._is_on = False
            self._ended_s = time.monotonic()
            if self._is_told:
                self._is_told = False
                lasted_s = self._ended_s - self._flowed_s
                _log.warning("%s goes on after %.1f s, from %s.", self._waiting, lasted_s, where)

    def flow(self) -> None:
        """Say that whoever takes the rows is back for more: from now on is waited."""
        self._flowed_s = time.monotonic()

    def _tell(self, error: FdssError, now_s: float) -> None:
        if now_s - self._told_s < REMINDER_S:
            return
        self._told_s = now_s
        most_s, lasted_s = self._patience.most_s, now_s - self._flowed_s
        if self._is_told:
            _log.warning("%s has waited for %.0f s: %s", self._waiting, lasted_s, error)
            return
        self._is_told = True
        limit = "" if math.isinf(most_s) else f" up to {most_s:g} s"
        _log.warning("%s waits%s: %s", self._waiting, limit, error)


def _seconds(variable: str, default: float, otherwise: str) -> float:
    given = os.environ.get(variable, "").strip()
    try:
        seconds = float(given) if given else default
    except ValueError:
        seconds = math.nan
    if not seconds >= 0 or (variable == STALL_VARIABLE and not 0 < seconds < math.inf):
        raise SettingError(
            f"{variable} is {given[:40]!r}, not a number of seconds.",
            hint=f"unset it: {otherwise}",
        )
    return seconds
