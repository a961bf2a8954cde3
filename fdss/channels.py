"""How responses leave: streams that take turns, so that no client can hold a thread.

waitress gives a thread to a response until its last byte is buffered, so a client that does not
read holds one for ever. Here a response is written in turns. A turn asks the application for
chunks and sends them until the kernel takes no more; then the response is parked, and its thread
serves another. The main loop sends what is pending, and once little of it is left gives the
response its next turn. A client that reads slowly or not at all costs what is pending for it and
nothing else; a client that reads fast gives way after ``TURN_BYTES`` when others wait.

Rests on private names of waitress 3.0 (``tests/server/test_channels.py`` holds them to it).
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from waitress.channel import ClientDisconnected

from fdss.arrivals import ArrivingChannel
from fdss.errors import FdssError, Unavailable
from fdss.refusals import Refused
from fdss.responses import StreamTask, Views
from fdss.wire.body import Chunk

#: A response is parked above the first, and gets its next turn below the second.
HIGH_WATER_BYTES = 1 << 18
LOW_WATER_BYTES = 1 << 17
#: What a response sends in one turn while others wait for theirs.
TURN_BYTES = 1 << 22
#: First byte of a client that speaks TLS to a server that does not.
TLS_HANDSHAKE = b"\x16"
#: Most buffers given to the kernel in one call.
VECTORS = 64

logger = logging.getLogger(__name__)


class StreamChannel(ArrivingChannel):
    """A connection whose responses take turns.

    ``_turn`` is true while a thread has the turn, and the main loop then leaves the socket alone:
    it would find it writable again and again, and take the interpreter from the thread that
    writes. ``_parked`` is true while a response waits for its pending bytes to leave. Both change
    under ``outbuf_lock``.
    """

    task_class = StreamTask

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self._task: StreamTask | None = None
        self._turn = False
        self._parked = False
        self._is_cut = False
        self._lingers = False
        self._refusal: Unavailable | None = None
        self._give_back: Callable[[], None] = _nothing
        super().__init__(server, sock, addr, adj, map=map)
        self.outbufs = [Views()]
        try:
            self._give_back = server.connections.take(addr[0])
        except Unavailable as refusal:
            self._refusal = refusal

    # ---- the main loop's side

    @property
    def is_in_turn(self) -> bool:
        """Return whether a thread makes and sends more of the response now."""
        return self._turn

    @property
    def has_begun(self) -> bool:
        """Return whether the first request's answer is under way."""
        return self._task is not None

    @property
    def is_one_too_many(self) -> bool:
        """Return whether the connection only serves to say that there is no place for it."""
        return self._refusal is not None

    def received(self, data: bytes) -> bool:
        """Take bytes of requests."""
        if data[:1] == TLS_HANDSHAKE and self.request is None:
            # It would wait for the end of a head that never comes, and so would its client.
            self.handle_close()
            return False
        return super().received(data)

    def writable(self) -> bool:
        """Return whether the main loop has something to send or to close."""
        if self._turn:
            return False
        return bool(self.total_outbufs_len or self.will_close or self.close_when_flushed)

    def handle_write(self) -> None:
        """Send what is pending; give a parked response its next turn when little is left."""
        with self.outbuf_lock:
            if self._turn:
                return
            self._flush_exception(self._flush_some)
            if self._parked and self.connected and self.total_outbufs_len <= LOW_WATER_BYTES:
                self._resume()
        if self.close_when_flushed and not self.total_outbufs_len:
            self.close_when_flushed = False
            if self._lingers:
                self.linger()
            elif not self.will_close:
                self.say_goodbye()
                self.will_close = True
        if self.will_close:
            self.handle_close()

    def handle_close(self) -> None:
        """Close the connection; a parked response gets a last turn, to be told."""
        # A thread that sends has to be done first: the socket's number may be another's at once.
        with self.outbuf_lock:
            super().handle_close()
            self._give_back()
            if self._parked:
                self._resume()

    def cancel(self) -> None:
        """Give up what was to be answered, at shutdown."""
        super().cancel()
        task, self._task = self._task, None
        if task is not None:
            task.close()

    def note_overdue(self) -> None:
        """Count what did not arrive in time, where that is counted."""

    def say_goodbye(self) -> None:
        """Tell the client, where there is a way to, that it has got all that was to be sent."""

    def _resume(self) -> None:
        self._parked = False
        self.server.add_task(self)

    # ---- the threads' side

    def service(self) -> None:
        """Take one turn: begin the response or go on with it."""
        with self.outbuf_lock:
            self._turn = True
        over = True
        try:
            over = self._take_turn()
        finally:
            self._end_turn(over=over)

    def write_soon(self, data: Chunk) -> int:
        """Take bytes to send; what limits them is the turn, which ends when many are pending."""
        if not self.connected:
            raise ClientDisconnected
        if data:
            with self.outbuf_lock:
                self.outbufs[0].append(data)
                self.total_outbufs_len += len(data)
        return len(data)

    def _take_turn(self) -> bool:
        """Return whether the response is over."""
        task = self._task
        try:
            if not self.connected or (task is None and self.has_left):
                raise ClientDisconnected
            if task is None:
                task = self._task = self._begin()
                if task is None:
                    return True
            sent_bytes = 0
            while (size := task.advance()) is not None:
                self._flush()
                sent_bytes += size
                if self.total_outbufs_len > HIGH_WATER_BYTES:
                    return False
                if sent_bytes > TURN_BYTES and self.server.others_wait(self):
                    return False
            self._flush()
        except (ClientDisconnected, OSError):
            # An application that has logged why its body ends raises an OSError, as in waitress.
            self._break_off()
        except Exception:
            # The edge: whatever else the application raised ends here.
            logger.exception("response to %s failed", self._path)
            self._break_off()
        return True

    def _begin(self) -> StreamTask | None:
        request = self.requests[0]
        if self._refusal is not None:
            request.error = Refused(self._refusal)
        if request.error:
            self.error_task_class(self, request).service()
            self._flush()
            self._lingers = self.close_when_flushed = True
            return None
        task = self.task_class(self, request)
        self._task = task
        task.begin()
        return task

    def _flush(self) -> None:
        with self.outbuf_lock:
            _, failed = self._flush_exception(self._flush_some, do_close=False)
        if failed or self._is_cut or not self.connected:
            raise ClientDisconnected

    def _flush_some(self, do_close: bool = True) -> bool:
        """Send until nothing is pending or the kernel takes no more; return whether any went."""
        views: Views = self.outbufs[0]
        any_sent = False
        try:
            while views and (sent_bytes := self._send_first(views, do_close)):
                views.skip(sent_bytes)
                self.total_outbufs_len -= sent_bytes
                any_sent = True
        except FdssError as error:
            # A file is no longer what it was: the client has to see that the body is not whole.
            logger.error("response to %s is cut (%s): %s", self._path, error.code, error)
            if self._task is not None:
                self._task.note_failure(error.code)
            self._is_cut = self.will_close = True
            self.total_outbufs_len = 0
            views.close()
        if any_sent:
            self.last_activity = time.time()
        return any_sent

    def _send_first(self, views: Views, do_close: bool) -> int:
        peer = self.socket
        if peer is None:
            # The main loop has just closed it: the client is gone.
            return 0
        if not hasattr(socket.socket, "sendmsg"):
            return int(self.send(views.first(1)[0], do_close=do_close))
        try:
            return int(peer.sendmsg(views.unread(VECTORS)))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            if error.errno == errno.EFAULT:
                # The kernel found a file cut; what reads it says which.
                views.first(1)
            raise

    def _break_off(self) -> None:
        """Close the connection without the end of the body, so that the client sees it is cut."""
        self.will_close = True

    def _end_turn(self, *, over: bool) -> None:
        task = self._task
        if over:
            self._task = None
        try:
            if over and task is not None:
                task.close()
        finally:
            self._hand_over(task, over=over)

    def _hand_over(self, task: StreamTask | None, *, over: bool) -> None:
        """Say who goes on: the main loop, the next request, or this response's next turn.

        A request that arrives when none is left gets its turn from the main loop. So the last
        one is removed, and this turn ended, in one step; else two threads would have the channel.
        """
        self.last_activity = time.time()
        with self.requests_lock, self.outbuf_lock:
            if over:
                self._remove_request(closes=task is not None and task.close_on_finish)
            self._turn = False
            # Pending bytes wake the main loop, which gives the next turn when they are sent.
            self._parked = not over and self.connected and self.total_outbufs_len > LOW_WATER_BYTES
            again = not self._parked and (not over or len(self.requests) > 0)
        if again:
            self.server.add_task(self)
        if self.connected:
            self.server.pull_trigger()

    def _remove_request(self, *, closes: bool) -> None:
        if self.will_close or closes:
            self.close_when_flushed = True
        self.drop_answered()

    @property
    def _path(self) -> str:
        return self.requests[0].path if self.requests else "?"


def _nothing() -> None:
    pass
