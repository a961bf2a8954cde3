"""Items that a background thread produces ahead of the one that consumes them."""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from .connections import Hold

Item = TypeVar("Item")

THREAD_NAME = "fdss-read-ahead"
JOIN_TIMEOUT_S = 1.0
FINISH_TIMEOUT_S = 0.1
# A thread that is still inside Arrow when the interpreter goes ends the process with an abort;
# it may be in the middle of a connection attempt, and the machine busy.
LAST_JOIN_TIMEOUT_S = 15.0
ALIVE_CHECK_S = 1.0


class Flow(Generic[Item]):
    """What passes between the reading thread and the consumer: items, room, stop and errors.

    Only ``SimpleQueue`` is used to wait on, as the garbage collector may stop a flow at any
    point of any thread, inside a lock as well.

    Attributes:
        hold: Claims the reading thread's connection.
    """

    def __init__(self, bound_bytes: int) -> None:
        self.hold = Hold()
        self._process = os.getpid()
        self._bound_bytes = bound_bytes
        self._ahead_bytes = 0
        self._freed_bytes: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._items: queue.SimpleQueue[tuple[Item, int] | BaseException | None] = (
            queue.SimpleQueue()
        )

    def belongs_here(self) -> bool:
        """Return whether the reading thread runs in this process; after a fork it does not."""
        return self._process == os.getpid()

    def make_room(self, size_bytes: int) -> None:
        """Wait in the reading thread until ``size_bytes`` more fit below the bound, or all is read.

        Raises:
            Stopped: The consumer has gone.
        """
        while self._ahead_bytes:
            if self.hold.broken:
                raise Stopped
            wait = self._ahead_bytes + size_bytes > self._bound_bytes
            try:
                self._ahead_bytes -= self._freed_bytes.get(block=wait)
            except queue.Empty:
                break

    def has_room(self, size_bytes: int) -> bool:
        """Return, in the reading thread, whether ``size_bytes`` more fit below the bound now."""
        while not self._freed_bytes.empty():
            self._ahead_bytes -= self._freed_bytes.get()
        return self._ahead_bytes + size_bytes <= self._bound_bytes

    def put(self, item: Item, size_bytes: int) -> None:
        """Hand an item to the consumer; waits as ``make_room`` does."""
        self.make_room(size_bytes)
        self._ahead_bytes += size_bytes
        self._items.put((item, size_bytes))

    def end(self, error: BaseException | None) -> None:
        """Say that nothing follows, or why."""
        self._items.put(error)

    def take(self, thread: threading.Thread) -> Item:
        """Return the next item.

        Raises:
            StopIteration: Nothing follows.
            BaseException: What ended the reading thread, as it was raised there.
        """
        found = self._next(thread)
        if isinstance(found, tuple):
            item, size_bytes = found
            self._freed_bytes.put(size_bytes)
            return item
        try:
            raise StopIteration if found is None else found
        finally:
            # The traceback would hold this frame, and the frame the traceback.
            del found

    def stop(self) -> None:
        """Make the reading thread end, whatever it waits for; without effect in a fork's child."""
        if self.belongs_here():
            self.hold.break_off()
            self._freed_bytes.put(0)

    def _next(self, thread: threading.Thread) -> tuple[Item, int] | BaseException | None:
        while True:
            # On Windows a wait without end cannot be interrupted from the keyboard.
            with contextlib.suppress(queue.Empty):
                return self._items.get(timeout=ALIVE_CHECK_S)
            if not thread.is_alive() and self._items.empty():
                return None if self.hold.broken else RuntimeError("The reading thread was ended.")


Source = Callable[[Flow[Item]], Generator[tuple[Item, int], None, None]]


class Stopped(Exception):
    """The consumer has gone; nobody waits for the rest."""


class ReadAhead(Generic[Item]):
    """The items of a source, read by a daemon thread of its own.

    The thread refers to the flow and the source, never to this object, so that dropping it is
    enough to end the thread.
    """

    def __init__(self, source: Source[Item], bound_bytes: int) -> None:
        """Start reading.

        Args:
            source: Given the flow, yields items with their sizes in bytes; closed at the end.
            bound_bytes: Most bytes of items that are read and not yet taken. A larger item passes
                alone.
        """
        self._flow: Flow[Item] = Flow(bound_bytes)
        self._stop = weakref.finalize(self, self._flow.stop)
        self._thread = threading.Thread(
            target=_fill, args=(self._flow, source), name=THREAD_NAME, daemon=True
        )
        self._thread.start()
        _running.add(self)

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return self._flow.take(self._thread)

    def belongs_here(self) -> bool:
        """Return whether this process reads ahead; a fork's child has to begin its own."""
        return self._flow.belongs_here()

    def finish(self) -> None:
        """Wait a moment for the thread to find the end behind the last item.

        A connection that was read to its end lives on; one that is broken off does not.
        """
        if self._flow.belongs_here():
            self._thread.join(FINISH_TIMEOUT_S)

    def close(self) -> None:
        """End the thread and the connection it reads from."""
        self._stop()
        if self._flow.belongs_here() and threading.current_thread() is not self._thread:
            self._thread.join(JOIN_TIMEOUT_S)


_running: weakref.WeakSet[ReadAhead[Any]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End every thread before the interpreter takes itself apart around it."""
    for ahead in list(_running):
        ahead.close()
    # Also those that were told to end a moment ago, when nobody held them any more.
    for thread in threading.enumerate():
        if thread.name == THREAD_NAME:
            thread.join(LAST_JOIN_TIMEOUT_S)


def _fill(flow: Flow[Item], source: Source[Item]) -> None:
    error: BaseException | None = None
    try:
        with contextlib.closing(source(flow)) as items:
            for item, size_bytes in items:
                flow.put(item, size_bytes)
        # All was read: whoever stops the flow from now on leaves its connections to others.
        flow.hold.release()
    except Stopped:
        return
    except BaseException as exc:  # the edge of the thread: the consumer raises it
        error = exc
    flow.end(error)
