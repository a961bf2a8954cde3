"""What the signals of the operating system make a server do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

#: Those that stop a server, from a terminal, a service manager and a Windows console.
STOPPING = ("SIGINT", "SIGTERM", "SIGBREAK")
RELOADING = "SIGHUP"


def on_signals(calls: Mapping[str, Callable[[], None]]) -> None:
    """Call a function on each signal that is named and that this system has."""

    def handler(number: int, frame: FrameType | None) -> None:
        calls[signal.Signals(number).name]()

    for name in calls:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handler)


def on_hangup(reload: Callable[[], None], stop: Callable[[], None]) -> Callable[[], None]:
    """Return what SIGHUP means: settings are read again, or, if the terminal is gone, the end."""
    had_terminal = _has_terminal()

    def hang_up() -> None:
        call = stop if had_terminal and not _has_terminal() else reload
        call()

    return hang_up


def _has_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False


@contextmanager
def postponed() -> Iterator[None]:
    """Let signals wait, also in processes started meanwhile: until they call ``accept_signals``."""
    if sys.platform == "win32":
        yield
    else:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _postponed())
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def accept_signals() -> None:
    """Take the signals that waited."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _postponed())


def _postponed() -> list[int]:
    names = (*STOPPING, RELOADING)
    return [getattr(signal, name) for name in names if hasattr(signal, name)]
