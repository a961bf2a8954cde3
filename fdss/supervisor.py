"""The process above the workers: it has the socket, starts them, and ends them.

Workers are started by the ``spawn`` method of multiprocessing: a fresh interpreter that inherits
no thread, lock or open dataset, and gets socket, settings and token through a pipe, not through
arguments that others could read.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from fdss.announced import Announced
from fdss.config import ServerConfig
from fdss.descriptors import raise_limit
from fdss.entrance import open_entrance
from fdss.errors import FdssError
from fdss.reloading import Reader, Reloader
from fdss.shares import Shares
from fdss.signals import RELOADING, STOPPING, on_hangup, on_signals, postponed
from fdss.workers import CUT, DRAIN, work

#: A worker that lived as long is started again at once; others later and later.
STEADY_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
#: Short lives of every worker, one after another, after which there is no use in more.
MOST_SHORT_LIVES = 4
#: Seconds above the drain time that a worker has for its own end.
MARGIN_S = 7.0

logger = logging.getLogger(__name__)


@dataclass
class Slot:
    """One worker, and those before it.

    Attributes:
        orders: This end of the worker's pipe, a connection of multiprocessing.
        started_s: When it was started.
        due_s: When the next is to be started, after this one has ended.
        short_lives: How many ended soon after their start, without one in between that did not.
    """

    process: SpawnProcess | None = None
    orders: Any = None
    started_s: float = 0.0
    due_s: float = 0.0
    short_lives: int = 0

    def tell(self, order: Any) -> None:
        """Send an order; a worker that has just ended needs none."""
        if self.orders is not None:
            try:
                self.orders.send(order)
            except OSError as error:
                logger.debug("a worker does not hear: %s", error)


class Supervisor:
    """N workers that answer on one port, from construction to the end of ``run``."""

    def __init__(self, config: ServerConfig, read: Reader) -> None:
        """Bind and settle the token; nothing answers yet.

        Raises:
            SettingError: The certificate, the port or the token cannot be had.
        """
        self._context = get_context("spawn")
        self._entrance = open_entrance(config)
        self._announced = Announced(self._entrance.config, self._entrance.url)
        self._reloader = Reloader(config, self._entrance.config, read)
        self._shares = Shares.of(config.workers, self._context)
        self._slots = [Slot() for _ in range(config.workers)]
        self._signals: deque[str] = deque()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._is_ready = False

    def run(self) -> None:
        """Keep the workers running until a signal ends them all.

        Raises:
            FdssError: No worker stays up.
        """
        hang_up = on_hangup(self._noter(RELOADING), self._noter(STOPPING[0]))
        on_signals({**{name: self._noter(name) for name in STOPPING}, RELOADING: hang_up})
        # A signal that comes just before a wait, or to another thread, interrupts nothing.
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            while self._goes_on():
                self._start_those_due()
                self._wait(self._next_due_s())
                self._bury_the_dead()
                if min(slot.short_lives for slot in self._slots) >= MOST_SHORT_LIVES:
                    raise FdssError(
                        "The workers end as soon as they have started.",
                        hint="the lines above say why; without --workers one process serves alone",
                    )
        finally:
            self._end()

    def _noter(self, name: str) -> Callable[[], None]:
        return partial(self._signals.append, name)

    def _goes_on(self) -> bool:
        """Handle the signals that came; return whether none of them ends the server."""
        while self._signals:
            if self._signals.popleft() in STOPPING:
                return False
            self._reload()
        return True

    def _reload(self) -> None:
        fresh = self._reloader.reloaded()
        if fresh is None:
            return
        self._entrance = replace(self._entrance, config=fresh)
        self._announced.tell(fresh)
        logging.getLogger().setLevel(fresh.log_level)
        for slot in self._slots:
            slot.tell(fresh)

    def _start_those_due(self) -> None:
        for index, slot in enumerate(self._slots):
            if slot.process is None and slot.due_s <= time.monotonic():
                self._start(index, slot)

    def _start(self, index: int, slot: Slot) -> None:
        slot.orders, theirs = self._context.Pipe()
        slot.started_s = time.monotonic()
        slot.process = self._context.Process(
            target=work,
            args=(self._entrance, replace(self._shares, index=index), theirs),
            name=f"worker {index}",
            daemon=True,
        )
        try:
            with theirs, postponed():
                slot.process.start()
        except OSError as error:
            slot.orders.close()
            slot.process = slot.orders = None
            logger.error("worker %d cannot be started: %s", index, error)
            self._pause(index, slot)
            return
        logger.info("worker %d started as process %d", index, slot.process.pid)

    def _wait(self, timeout_s: float | None) -> None:
        """Wait until a signal comes, a worker ends, or the first is ready."""
        waiting: list[Any] = [self._woken]
        waiting += [slot.process.sentinel for slot in self._slots if slot.process]
        orders = [slot.orders for slot in self._slots if slot.orders]
        found = wait(waiting if self._is_ready else [*waiting, *orders], timeout_s)
        if self._woken in found:
            self._woken.recv(1 << 10)
        for connection in orders:
            if connection in found and not self._is_ready:
                self._announce(connection)

    def _announce(self, ready: Any) -> None:
        try:
            ready.recv()
        except (EOFError, OSError):
            return
        self._is_ready = True
        for line in self._entrance.banner:
            print(line, file=sys.stderr, flush=True)

    def _next_due_s(self) -> float | None:
        due = [slot.due_s for slot in self._slots if slot.process is None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _bury_the_dead(self) -> None:
        for index, slot in self._dead():
            assert slot.process is not None
            logger.error("worker %d ended with code %s", index, slot.process.exitcode)
            self._release(index, slot)
            self._pause(index, slot)

    def _dead(self) -> list[tuple[int, Slot]]:
        return [
            (index, slot)
            for index, slot in enumerate(self._slots)
            if slot.process and not slot.process.is_alive()
        ]

    def _pause(self, index: int, slot: Slot) -> None:
        """Say when the next worker starts in the place of one that has ended."""
        now = time.monotonic()
        is_steady = now - slot.started_s > STEADY_S
        slot.short_lives = 0 if is_steady else slot.short_lives + 1
        pause_s = 0.0 if is_steady else FIRST_PAUSE_S * 2 ** (slot.short_lives - 1)
        slot.due_s = now + min(LONGEST_PAUSE_S, pause_s)
        logger.info("worker %d starts again in %.1f s", index, slot.due_s - now)

    def _release(self, index: int, slot: Slot) -> None:
        replace(self._shares, index=index).bury()
        if slot.process is not None:
            slot.process.join()
            slot.process.close()
        if slot.orders is not None:
            slot.orders.close()
        slot.process = slot.orders = None

    def _end(self) -> None:
        """Let the workers end what is under way; a second signal cuts it."""
        self._announced.close()
        self._entrance.socket.close()
        self._is_ready = True
        deadline = time.monotonic() + self._entrance.config.drain_timeout + MARGIN_S
        self._tell_all(DRAIN)
        while self._are_any_left() and time.monotonic() < deadline:
            # One by one: another may come at any moment.
            while self._signals:
                if self._signals.popleft() in STOPPING:
                    self._tell_all(CUT)
                    deadline = min(deadline, time.monotonic() + MARGIN_S)
            self._wait(max(0.0, deadline - time.monotonic()))
        for index, slot in enumerate(self._slots):
            if slot.process is not None:
                logger.warning("worker %d does not end and is killed", index)
                slot.process.kill()
            self._release(index, slot)
        signal.set_wakeup_fd(-1)
        self._woken.close()
        self._wake.close()

    def _are_any_left(self) -> bool:
        for index, slot in self._dead():
            self._release(index, slot)
        return any(slot.process for slot in self._slots)

    def _tell_all(self, order: str) -> None:
        for slot in self._slots:
            slot.tell(order)


def supervise(config: ServerConfig, read: Reader) -> None:
    """Serve with several processes until SIGINT or SIGTERM, then return; SIGHUP reads again.

    Args:
        read: Reads flags and file again.

    Raises:
        SettingError: The certificate, the port or the token cannot be had.
        FdssError: The workers do not stay up.
    """
    raise_limit()
    Supervisor(config, read).run()
    logger.info("stopped")
