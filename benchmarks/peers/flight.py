"""Arrow Flight: ``do_get`` of the record batches of a file, by a server in its own process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..children import Amount, Read

TICKET = b"all"


def serve(tell: Callable[[int], None], file: str) -> None:
    """Serve the batches of a memory-mapped file."""
    import pyarrow as pa
    from pyarrow import flight

    class Batches(flight.FlightServerBase):  # type: ignore[misc]
        """One dataset, whatever the ticket says."""

        def do_get(self, context: Any, ticket: Any) -> Any:
            """Answer with all batches."""
            return flight.RecordBatchStream(pa.ipc.open_stream(pa.memory_map(file)))

    server = Batches("grpc://127.0.0.1:0")
    tell(server.port)
    server.serve()


def batches(port: int, data_bytes: int) -> Read:
    """Return a pass over the record batches; no rows are made."""
    from pyarrow import flight

    client = flight.connect(f"grpc://127.0.0.1:{port}")

    def read() -> Amount:
        rows = 0
        for chunk in client.do_get(flight.Ticket(TICKET)):
            rows += chunk.data.num_rows
        return Amount(rows, data_bytes)

    return read
