"""A link that is far and slow: a TCP proxy with a round trip and a rate.

What arrives is given its place on the link, which all connections of a direction share, and is
handed on when it has crossed it. Waiting for a place longer than ``QUEUE_S`` holds the sender
back, as a full router does. A new connection pays one round trip more. The growth of TCP's window
is not modelled.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

PIECE_BYTES = 1 << 14
QUEUE_S = 0.1


@dataclass(frozen=True)
class Shape:
    """How far and how slow.

    Attributes:
        round_trip_s: Seconds there and back.
        rate: Bytes a second, in each direction.
    """

    round_trip_s: float
    rate: float


class Direction:
    """One direction of a link: who sends waits for a place on it."""

    def __init__(self, shape: Shape) -> None:
        self._delay_s = shape.round_trip_s / 2
        self._rate = shape.rate
        self._free_s = 0.0
        self._lock = threading.Lock()

    def place(self, size_bytes: int) -> float:
        """Return when so many bytes will have arrived at the other end; waits if many do wait."""
        with self._lock:
            now_s = time.monotonic()
            self._free_s = max(now_s, self._free_s) + size_bytes / self._rate
            sent_s = self._free_s
        time.sleep(max(0.0, sent_s - now_s - QUEUE_S))
        return sent_s + self._delay_s


def serve(tell: Callable[[int], None], port: int, shape: Shape) -> None:
    """Carry connections to a port of this machine over such a link."""
    up, down = Direction(shape), Direction(shape)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        tell(listening.getsockname()[1])
        while True:
            near, _ = listening.accept()
            far = socket.create_connection(("127.0.0.1", port))
            _carry(near, far, up, shape.round_trip_s)
            _carry(far, near, down, 0.0)


def _carry(source: socket.socket, target: socket.socket, link: Direction, extra_s: float) -> None:
    for end in (source, target):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    under_way: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
    begin = threading.Thread(target=_enter, args=(source, under_way, link, extra_s), daemon=True)
    end_ = threading.Thread(target=_leave, args=(target, under_way), daemon=True)
    begin.start()
    end_.start()


def _enter(
    source: socket.socket,
    under_way: queue.SimpleQueue[tuple[bytes, float]],
    link: Direction,
    extra_s: float,
) -> None:
    open_s = time.monotonic() + extra_s
    piece = b"more"
    while piece:
        try:
            piece = source.recv(PIECE_BYTES)
        except OSError:
            piece = b""
        under_way.put((piece, max(open_s, link.place(len(piece)))))


def _leave(target: socket.socket, under_way: queue.SimpleQueue[tuple[bytes, float]]) -> None:
    piece = b"more"
    while piece:
        piece, due_s = under_way.get()
        time.sleep(max(0.0, due_s - time.monotonic()))
        try:
            if piece:
                target.sendall(piece)
            else:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()
            return
