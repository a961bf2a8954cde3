"""What a dataset server counts."""

from __future__ import annotations

from multiprocessing.context import SpawnContext
from typing import TYPE_CHECKING

from fdss.errors import (
    ContentChanged,
    DatasetDamaged,
    FdssError,
    Unavailable,
    UncarriableValue,
)
from fdss.wire import names

from .board import Board
from .families import OTHER, Family, Kind
from .meter import Answer, Meter, families_of

if TYPE_CHECKING:
    # Flask stays unloaded where nothing is served.
    from fdss.access import Streamed

PREFIX = "fdss"

#: Those of ``fdss.openapi``, which the process above the workers has no need of.
ENDPOINTS = (
    names.HEALTH_PATH,
    names.AUTH_STATUS_PATH,
    names.DATASETS_PATH,
    names.handle_path("{handle}"),
    names.length_path("{handle}"),
    names.iter_path("{handle}"),
    names.LOAD_PATH,
    names.HUB_CACHE_PATH,
    names.LOCAL_PATH,
    names.OPENAPI_PATH,
    names.READY_PATH,
    names.METRICS_PATH,
)

#: How a stream of rows ended.
WHOLE, LEFT, CUT = "whole", "left", "cut"
#: What a stream is called by its media type.
ENCODINGS = {names.NDJSON: "ndjson", names.ARROW: "arrow"}
#: What rows can fail of once the first were sent.
BREAKING = (ContentChanged, DatasetDamaged, UncarriableValue, Unavailable, FdssError)
#: How an attempt to open a dataset ended.
OPENED, FAILED = "opened", "failed"

STREAM_S = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
LOAD_S = (0.01, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0)
PAGE_BYTES = tuple(float(4**power) for power in range(6, 15))
PAGE_ROWS = tuple(float(4**power) for power in range(10))

STREAMS = "fdss_streams_total"
ROWS = "fdss_sent_rows_total"
STREAM_SECONDS = "fdss_stream_seconds"
PAGE_SIZES = "fdss_page_bytes"
PAGE_LENGTHS = "fdss_page_rows"
CUTS = "fdss_cuts_total"
LOADS = "fdss_load_seconds"
INDEXES = "fdss_index_build_seconds"
OPEN = "fdss_open_datasets"
WORKERS = "fdss_workers"
STREAMING = "fdss_streams_in_flight"
READY = "fdss_ready"

FAMILIES: tuple[Family, ...] = (
    *families_of(PREFIX, ENDPOINTS),
    Family(
        STREAMS,
        Kind.COUNTER,
        "Streams of rows that ended, by encoding and by how they ended.",
        {"encoding": (*ENCODINGS.values(), OTHER), "outcome": (WHOLE, LEFT, CUT)},
    ),
    Family(
        CUTS,
        Kind.COUNTER,
        "Streams of rows that an error broke off after their beginning, by its code.",
        {"code": (*(kind.code for kind in BREAKING), OTHER)},
    ),
    Family(ROWS, Kind.COUNTER, "Rows that were handed to the network."),
    Family(
        STREAM_SECONDS,
        Kind.HISTOGRAM,
        "Seconds from a request for rows to the end of its stream.",
        buckets=STREAM_S,
    ),
    Family(
        PAGE_SIZES, Kind.HISTOGRAM, "Bytes of the streams that ended whole.", buckets=PAGE_BYTES
    ),
    Family(
        PAGE_LENGTHS, Kind.HISTOGRAM, "Rows of the streams that ended whole.", buckets=PAGE_ROWS
    ),
    Family(
        LOADS,
        Kind.HISTOGRAM,
        "Seconds that opening a dataset took, by how it ended.",
        {"outcome": (OPENED, FAILED)},
        LOAD_S,
    ),
    Family(
        INDEXES,
        Kind.HISTOGRAM,
        "Seconds that building the index of a dataset's files took.",
        buckets=LOAD_S,
    ),
    Family(STREAMING, Kind.LIVE, "Streams of rows under way."),
    Family(OPEN, Kind.GAUGE, "Datasets that are open; counted once in every worker."),
    Family(WORKERS, Kind.GAUGE, "Processes that answer."),
    Family(READY, Kind.LIVE, "1 if the worker that answers is ready, 0 if it is not."),
)


class ServerMeter(Meter):
    """Counts on a board what a dataset server does."""

    def __init__(self, board: Board) -> None:
        super().__init__(board, PREFIX)

    @classmethod
    def of(cls, workers: int = 1, context: SpawnContext | None = None) -> ServerMeter:
        """Return the meter of the first of a number of workers that count nothing yet."""
        return cls(Board.of(FAMILIES, workers, context))

    def begin(self) -> None:
        """Say that this worker is there, whatever one before it has left."""
        self.board.end()
        self.board.set(WORKERS, 1.0)

    def streamed(self, answer: Answer, stream: Streamed, broken_off: str) -> None:
        """Count a stream of rows that is over.

        Args:
            stream: What became of it.
            broken_off: Code of the error that broke it off while it was sent; empty if none did.
        """
        failure = broken_off or stream.failure
        outcome = CUT if failure else LEFT if stream.outcome else WHOLE
        if failure:
            self.board.count(CUTS, failure)
        rows = stream.sent_rows or 0
        self.board.count(STREAMS, ENCODINGS.get(answer.media_type, OTHER), outcome)
        self.board.count(ROWS, amount=rows)
        self.board.observe(STREAM_SECONDS, answer.seconds)
        if outcome == WHOLE:
            self.board.observe(PAGE_LENGTHS, rows)
            self.board.observe(PAGE_SIZES, stream.sent_bytes)

    def loaded(self, seconds: float, *, is_open: bool) -> None:
        """Count an attempt to open a dataset."""
        self.board.observe(LOADS, seconds, OPENED if is_open else FAILED)

    def indexed(self, seconds: float) -> None:
        """Count an index that was built."""
        self.board.observe(INDEXES, seconds)

    def holds(self, datasets: int) -> None:
        """Say how many datasets this worker has open."""
        self.board.set(OPEN, datasets)
