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


class Outage:
    """One time of trouble: from the first error to the next row.

    It is told in the log when it begins, once a minute while it lasts, and when it ends.
    """

    def __init__(self, patience: Patience, waiting: str) -> None:
        """Begin.

        Args:
            waiting: What waits, for the log.
        """
        self._patience = patience
        self._waiting = waiting
        self._begun_s = time.monotonic()
        self._told_s = -math.inf
        self._tries = 0

    @property
    def tries(self) -> int:
        """Return how often was tried in vain."""
        return self._tries

    @property
    def lasted_s(self) -> float:
        """Return the seconds since it began."""
        return time.monotonic() - self._begun_s

    def wait(self, error: FdssError) -> None:
        """Pause after a try in vain; a signal such as Ctrl-C ends the pause.

        Raises:
            OutageTooLong: The patience is at its end.
        """
        self._tries += 1
        left_s = self._patience.most_s - self.lasted_s
        if left_s <= 0:
            raise OutageTooLong(
                f"{self._waiting} waited {self.lasted_s:.1f} s, {self._tries} tries: "
                f"{error.message}",
                hint=f"{CAP_VARIABLE} is {self._patience.most_s:g}; {error.hint}".rstrip("; "),
            ) from error
        self._tell(error)
        pause_s = self._patience.pause_s(self._tries)
        if isinstance(error, Unavailable):
            # Those who were told the same time do not come back at the same time.
            pause_s += min(error.retry_after_s, self._patience.longest_s)
        time.sleep(min(pause_s, left_s))

    def end(self, where: str) -> None:
        """Say that rows flow again."""
        _log.warning(
            "%s goes on after %.1f s and %d tries, from %s.",
            self._waiting,
            self.lasted_s,
            self._tries,
            where,
        )

    def _tell(self, error: FdssError) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < REMINDER_S:
            return
        if self._told_s == -math.inf:
            limit = (
                "" if math.isinf(self._patience.most_s) else f" up to {self._patience.most_s:g} s"
            )
            _log.warning("%s waits%s: %s", self._waiting, limit, error)
        else:
            _log.warning("%s has waited for %.0f s: %s", self._waiting, self.lasted_s, error)
        self._told_s = now_s


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
