"""A thread that does something again and again, and can be woken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

#: The pause after a turn that failed in a way nobody foresaw.
FAULT_PAUSE_S = 5.0

logger = logging.getLogger(__name__)


class Loop:
    """A thread that takes a turn, rests for as long as the turn said, and takes the next."""

    def __init__(self, name: str, turn: Callable[[], float]) -> None:
        """Name the thread; ``start`` starts it.

        Args:
            turn: Does the work, and returns how many seconds to rest.
        """
        self._turn = turn
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Take the first turn soon."""
        self._thread.start()

    def wake(self) -> None:
        """Take the next turn at once; if one is under way, take another right after it."""
        self._woken.set()

    def stop(self) -> None:
        """Take no further turn."""
        self._stopping.set()
        self._woken.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the turn under way has ended, if it does in time."""
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                pause_s = self._turn()
            except Exception:
                logger.exception("%s failed; it goes on", self._thread.name)
                pause_s = FAULT_PAUSE_S
            if not self._stopping.is_set():
                self._woken.wait(pause_s)
