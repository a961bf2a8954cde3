"""Whether requests should be sent here: named checks, none of which keeps anybody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How long a check may take; who asks waits for all of them together no longer.
PATIENCE_S = 2.0
#: How long what a check has found is told again.
KEPT_S = 1.0
UNANSWERED = f"it did not answer within {PATIENCE_S:.0f} s"
FAILED = "it failed; the log has the details"
UNSTARTED = "it cannot be looked at: no more threads can be started"

#: Returns why requests should not be sent here, without paths; None if it knows no reason.
Check = Callable[[], "str | None"]


class _Checked:
    """One check, in a thread of its own: a disk that does not answer holds up nobody else."""

    def __init__(self, name: str, check: Check) -> None:
        self.name = name
        self._check = check
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._is_running = False
        self._begun_s = self._at_s = float("-inf")
        self._reason: str | None = None

    def begin(self) -> None:
        """Run the check, unless it is running or its answer is fresh."""
        with self._lock:
            if self._is_running or time.monotonic() - self._at_s < KEPT_S:
                return
            self._is_running = True
            self._begun_s = time.monotonic()
            self._over.clear()
        thread = threading.Thread(target=self._run, name=f"fdss-check-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._end(UNSTARTED)

    def reason(self) -> str | None:
        """Return what it found; for one that hangs only those wait who ask at first."""
        if not self._over.wait(max(0.0, self._begun_s + PATIENCE_S - time.monotonic())):
            return UNANSWERED
        return self._reason

    def _run(self) -> None:
        reason: str | None = FAILED
        try:
            reason = self._check()
        finally:
            self._end(reason)

    def _end(self, reason: str | None) -> None:
        with self._lock:
            self._reason, self._at_s = reason, time.monotonic()
            self._is_running = False
            self._over.set()


class Readiness:
    """The checks of one server; threads may share it."""

    def __init__(self) -> None:
        self._checks: dict[str, _Checked] = {}

    def register(self, name: str, check: Check) -> None:
        """Add a check, in place of the one that had its name.

        Args:
            name: What it looks at, as a word.
            check: May take long, and may be asked by one thread at a time; what it raises is
                logged and counts as a reason.
        """
        self._checks = {**self._checks, name: _Checked(name, check)}

    def look(self) -> dict[str, str | None]:
        """Return the reason of each check, None where there is none, by their names."""
        checks = list(self._checks.values())
        for checked in checks:
            checked.begin()
        return {checked.name: checked.reason() for checked in checks}

    def is_ready(self) -> bool:
        """Return whether no check has a reason."""
        return not any(reason is not None for reason in self.look().values())
