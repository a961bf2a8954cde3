"""The row-by-row server: FastAPI under uvicorn, one ``json.dumps`` and one chunk a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection

from ..children import Amount, Read


def serve(tell: Callable[[int], None], folder: str, rows: int) -> None:
    """Serve the first rows of a ``save_to_disk`` folder as NDJSON."""
    import uvicorn
    from datasets import load_from_disk
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    dataset = load_from_disk(folder).select(range(rows))
    app = FastAPI()

    def lines() -> Iterator[str]:
        for row in dataset:
            yield json.dumps(row) + "\n"

    def answer() -> StreamingResponse:
        return StreamingResponse(lines(), media_type="application/x-ndjson")

    app.add_api_route("/rows", answer)
    config = uvicorn.Config(app, port=0, log_level="warning")
    listening = config.bind_socket()
    tell(listening.getsockname()[1])
    uvicorn.Server(config).run(sockets=[listening])


def rows_read(port: int) -> Read:
    """Return a pass over its rows: the lines of one answer, each ``json.loads``."""

    def read() -> Amount:
        # uvicorn closes a connection that is idle for five seconds, as it is between two passes.
        with closing(HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/rows")
            return Amount(sum(1 for _ in map(json.loads, connection.getresponse())))

    return read
