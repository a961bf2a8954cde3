"""Reads that ``fdss bench`` measures: drained bytes and Python rows, in every form of the wire."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from fdss.backend import DEFAULT_BLOCK_ROWS, WINDOW_ROWS, Selection
from fdss.client.connections import Hold
from fdss.client.pages import READ_AHEAD_BYTES, Transfer
from fdss.client.remote import RemoteBackend
from fdss.client.session import ServerSession
from fdss.errors import FdssError, PageCut
from fdss.wire import names

SEVERAL = 4
DRAIN_BYTES = 1 << 18
LARGE_READ_AHEAD_BYTES = 96 << 20

STORED, SHUFFLED = "stored", "shuffled"
BYTES, ROWS = "bytes", "rows"
PLAIN_ARROW, LZ4, ZSTD = "arrow", "arrow lz4", "arrow zstd"
TAGGED, PLAIN = "ndjson tagged", "ndjson plain"
AUTO, AHEAD = "auto", "auto, larger read-ahead"

#: Media type and parameters of each form that the wire has.
FORMS: dict[str, tuple[str, dict[str, str]]] = {
    PLAIN_ARROW: (names.ARROW, {}),
    LZ4: (names.ARROW, {"compression": "lz4"}),
    ZSTD: (names.ARROW, {"compression": "zstd"}),
    TAGGED: (names.NDJSON, {"types": names.TAGGED}),
    PLAIN: (names.NDJSON, {"types": names.PLAIN}),
}
#: How a client is told to take each form; ``AUTO`` is what it does by itself.
TRANSFERS: dict[str, dict[str, Any]] = {
    AUTO: {"compression": "auto"},
    PLAIN_ARROW: {"compression": None},
    LZ4: {"compression": "lz4"},
    ZSTD: {"compression": "zstd"},
    TAGGED: {"body": "ndjson"},
    AHEAD: {"compression": "auto", "read_ahead_bytes": LARGE_READ_AHEAD_BYTES},
}


class Key(NamedTuple):
    """What one line of figures is about.

    Attributes:
        reads: BYTES that are drained as they come, or ROWS that are made of them.
    """

    form: str
    order: str = STORED
    connections: int = 1
    reads: str = BYTES

    @property
    def title(self) -> str:
        """Return it in words."""
        several = f", {self.connections} connections" if self.connections > 1 else ""
        return f"{self.form}, {self.order}{several}, as {self.reads}"


@dataclass(frozen=True)
class Sample:
    """One measured read.

    Attributes:
        size_bytes: Bytes of bodies; 0 where a client read them.
        seconds: How long it took, without one round trip.
        cpu_s: Processor time of this process meanwhile.
    """

    rows: int
    size_bytes: int
    seconds: float
    cpu_s: float


Read = Callable[[int, int], Sample]


@dataclass(frozen=True)
class Dataset:
    """The dataset that is read, and how.

    Attributes:
        backend: As a client has it.
        session: For what is read without a client.
        seed: Of the shuffled order.
        round_trip_s: Of the link, which a long read waits for once.
    """

    backend: RemoteBackend
    session: ServerSession
    token: str | None
    seed: int
    round_trip_s: float

    def read(self, key: Key) -> Read:
        """Return what makes reads of one kind, over connections that are kept in between."""
        seed = self.seed if key.order == SHUFFLED else None
        if key.reads == BYTES:
            return _Drain(self, key, seed)
        known, given = self.backend, {"read_ahead_bytes": READ_AHEAD_BYTES, **TRANSFERS[key.form]}
        backend = RemoteBackend(
            known.url,
            known.handle,
            token=self.token,
            transfer=Transfer(**given),
            description=known.description,
        )
        return Client(backend, seed, self.round_trip_s)


class _Clock:
    """Time and processor time from its making on."""

    def __init__(self, round_trip_s: float) -> None:
        self._round_trip_s = round_trip_s
        self._begun_s, self._begun_cpu_s = time.perf_counter(), time.process_time()

    def sample(self, rows: int, size_bytes: int) -> Sample:
        """Return what was read by now."""
        taken_s = time.perf_counter() - self._begun_s
        # Of a read that is all waiting something has to be left.
        seconds = max(taken_s - self._round_trip_s, taken_s / 4)
        return Sample(rows, size_bytes, seconds, time.process_time() - self._begun_cpu_s)


class Client:
    """Reads as a training job does: pages, a thread that reads ahead, Python rows."""

    def __init__(self, backend: RemoteBackend, seed: int | None, round_trip_s: float) -> None:
        self._backend = backend
        self._seed = seed
        self._round_trip_s = round_trip_s

    @property
    def form(self) -> str:
        """Return what it would ask for by itself, by what it knows of the link."""
        return ZSTD if self._backend.link.is_slow else PLAIN_ARROW

    def __call__(self, begin: int, rows: int) -> Sample:
        """Read some rows, and make Python values of them."""
        clock = _Clock(self._round_trip_s)
        for _ in self._chunk_rows(begin, rows):
            pass
        return clock.sample(rows, 0)

    def _chunk_rows(self, begin: int, rows: int) -> Iterator[int]:
        length = len(self._backend)
        for part in _parts(begin, rows, length):
            selection = Selection(
                range(length),
                part,
                self._seed,
                DEFAULT_BLOCK_ROWS,
                0 if self._seed is None else WINDOW_ROWS,
            )
            with contextlib.closing(self._backend.chunks(selection)) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    yield len(chunk.rows())


class _Drain:
    """Takes bodies from the connection and throws them away."""

    def __init__(self, dataset: Dataset, key: Key, seed: int | None) -> None:
        self._session = dataset.session
        self._path = names.iter_path(dataset.backend.handle)
        self._length = len(dataset.backend)
        self._connections = key.connections
        self._round_trip_s = dataset.round_trip_s
        media_type, asked = FORMS[key.form]
        self._headers = {"Accept": media_type}
        self._parameters: dict[str, str | int] = {**asked}
        if seed is not None:
            self._parameters |= {"seed": seed, "window": WINDOW_ROWS}

    def __call__(self, begin: int, rows: int) -> Sample:
        each = max(1, rows // self._connections)
        readers = [
            _Reader(self, begin + number * each, each) for number in range(self._connections)
        ]
        clock = _Clock(self._round_trip_s)
        for reader in readers[1:]:
            reader.start()
        try:
            readers[0].run()
        except BaseException:
            for reader in readers:
                reader.hold.break_off()
            raise
        finally:
            for reader in readers[1:]:
                reader.join()
        for reader in readers:
            if reader.error is not None:
                raise reader.error
        return clock.sample(each * len(readers), sum(one.size_bytes for one in readers))

    def drained(self, part: range, hold: Hold) -> int:
        """Return the bytes of a body, once it has come."""
        asked = {**self._parameters, "position": part.start, "limit": len(part)}
        buffer = memoryview(bytearray(DRAIN_BYTES))
        size_bytes = 0
        with self._session.stream(self._path, asked, headers=self._headers, hold=hold) as response:
            # Below urllib3, as a client reads: above it bytes are copied once or twice more.
            raw: Any = response.raw
            while received := raw._fp.readinto(buffer):
                size_bytes += received
            if raw._fp.length or str(len(part)) != response.headers.get(names.ROWS_HEADER):
                raise PageCut(f"The {len(part):,} rows at {response.url} broke off.")
            raw.release_conn()
        return size_bytes

    def parts(self, begin: int, rows: int) -> Iterator[range]:
        """Yield the positions of the requests that so many rows take."""
        return _parts(begin, rows, self._length)


class _Reader(threading.Thread):
    """One connection of several.

    Attributes:
        size_bytes: Bytes of bodies that came.
        error: Why it could not go on.
    """

    def __init__(self, drain: _Drain, begin: int, rows: int) -> None:
        super().__init__(name="fdss-bench", daemon=True)
        self.hold = Hold()
        self.size_bytes = 0
        self.error: FdssError | None = None
        self._drain = drain
        self._begin = begin
        self._rows = rows

    def run(self) -> None:
        """Drain, and note what came."""
        try:
            for part in self._drain.parts(self._begin, self._rows):
                self.size_bytes += self._drain.drained(part, self.hold)
        except FdssError as error:
            self.error = error


def _parts(begin: int, rows: int, length: int) -> Iterator[range]:
    """Yield ranges of together ``rows`` positions; at the end it begins again."""
    begin %= length
    while rows:
        part = range(begin, min(begin + rows, length))
        yield part
        begin, rows = 0, rows - len(part)
