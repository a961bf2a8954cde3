"""A plain socket that sends the views of a memory-mapped file: the limit of a Python server."""

from __future__ import annotations

import mmap
import socket
import threading
from collections.abc import Callable

from ..children import Amount, Read
from ..product import drained_bytes

VIEW_BYTES = 1 << 18


def serve(tell: Callable[[int], None], file: str) -> None:
    """Send a file to everybody who connects."""
    with open(file, "rb") as opened:
        view = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        tell(listening.getsockname()[1])
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_send, args=(client, view), daemon=True).start()


def _send(client: socket.socket, view: memoryview) -> None:
    with client:
        for begin in range(0, len(view), VIEW_BYTES):
            client.sendall(view[begin : begin + VIEW_BYTES])


def drained(port: int) -> Read:
    """Return a pass that takes the bytes and leaves them at that."""

    def read() -> Amount:
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            return Amount(0, drained_bytes(client))

    return read
