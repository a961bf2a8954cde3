"""A TCP relay on loopback whose link can be cut for a while, and is far away."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

PIECE_BYTES = 1 << 15


@dataclass
class Relay:
    """What befalls the bytes of all connections; may be changed while they travel.

    Attributes:
        port: Where it listens.
        delay_s: Seconds that a piece waits before it is handed on.
        is_open: While it is not set, nothing is handed on and nobody is let in.
        handed_bytes: Sizes of the pieces that were handed on, in no order.
    """

    port: int
    delay_s: float = 0.0
    handed_bytes: list[int] = field(default_factory=list)
    is_open: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def relay(to: int) -> Iterator[Relay]:
    """Carry connections to a port of this machine until the end of the block."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        link = Relay(listening.getsockname()[1])
        link.is_open.set()
        carrier = _Carrier(link, to)
        stack.callback(carrier.end)
        thread = threading.Thread(target=carrier.accept, args=(listening,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(listening.shutdown, socket.SHUT_RDWR)
        stack.callback(link.is_open.set)
        yield link


class _Carrier:
    def __init__(self, link: Relay, to: int) -> None:
        self._link = link
        self._to = to
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._pause = threading.Event()

    def accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                self._link.is_open.wait()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._pairs.append((near, far))
                for pair in ((near, far), (far, near)):
                    self._threads.append(threading.Thread(target=self._carry, args=pair))
                    self._threads[-1].start()

    def end(self) -> None:
        self._pause.set()
        for pair in self._pairs:
            for connection in pair:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for connection in pair:
                connection.close()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self._pause.wait(self._link.delay_s)
                self._link.is_open.wait()
                target.sendall(piece)
                self._link.handed_bytes.append(len(piece))
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
