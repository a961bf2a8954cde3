"""waitress as it comes, sending the views of a memory-mapped file as one response."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from typing import Any

from .sockets import VIEW_BYTES


def serve(tell: Callable[[int], None], file: str) -> None:
    """Answer every request with a file."""
    import waitress

    with open(file, "rb") as opened:
        view = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))

    def application(environ: dict[str, Any], start: Any) -> Iterable[memoryview]:
        start("200 OK", [("Content-Length", str(len(view)))])
        return (view[at : at + VIEW_BYTES] for at in range(0, len(view), VIEW_BYTES))

    server = waitress.create_server(application, host="127.0.0.1", port=0, threads=16)
    tell(server.socket.getsockname()[1])
    server.run()
