"""Where one reader writes its counts, and others look at them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .shared import WORD_BYTES
from .waits import BUCKETS

NUMBERS = (
    "owner",
    "workers",
    "epoch",
    "position",
    "is_over",
    "rows",
    "chunks",
    "received_bytes",
    "requests",
    "retries",
    "fail_overs",
    "began_ns",
    "counted_ns",
    "waited_ns",
    "worked_ns",
    "waiting_ns",
)
OWNER = NUMBERS.index("owner")
MOST_TEXT_BYTES = 48 * WORD_BYTES

_NUMBERS = struct.Struct(f"={len(NUMBERS)}Q")
_NUMBERS_BYTES = len(NUMBERS) * WORD_BYTES
_WAITS_BEGIN = _NUMBERS_BYTES + WORD_BYTES + MOST_TEXT_BYTES
SLOT_BYTES = _WAITS_BEGIN + 4 * BUCKETS

#: A server that is named while somebody looks is looked at again.
_LOOKS = 10


@dataclass(frozen=True)
class Snapshot:
    """The counts of one reader at one moment.

    Attributes:
        worker: Number of the DataLoader worker; None for the process itself.
        owner: Names the pass; 0 where there was none.
        workers: DataLoader workers of the pass; 0 outside of one.
        counted_ns: When the other numbers were right.
        waiting_ns: Since when a chunk is waited for; 0 when none is.
        waits: Waits of each bucket.
        servers: URLs of the servers that rows came from, the newest last.
    """

    worker: int | None
    owner: int
    workers: int
    epoch: int
    position: int
    is_over: int
    rows: int
    chunks: int
    received_bytes: int
    requests: int
    retries: int
    fail_overs: int
    began_ns: int
    counted_ns: int
    waited_ns: int
    worked_ns: int
    waiting_ns: int
    waits: list[int] = field(repr=False)
    servers: tuple[str, ...]

    def waiting_until(self, now_ns: int) -> Snapshot:
        """Return the counts of a later moment up to which a wait under way has lasted."""
        if not self.waiting_ns or now_ns <= self.waiting_ns:
            return self
        waited_ns = self.waited_ns + now_ns - self.waiting_ns
        return replace(self, counted_ns=now_ns, waited_ns=waited_ns)


class Slot:
    """The memory of one reader, which is its only writer.

    Nothing is locked: each number is whole, and they are at most one chunk apart.

    Attributes:
        numbers: As ``NUMBERS`` names them.
        waits: Waits of each bucket.
    """

    def __init__(self, memory: Any) -> None:
        """Take memory of ``SLOT_BYTES``."""
        whole = memoryview(memory).cast("B")
        self._numbers = whole[:_NUMBERS_BYTES]
        self.numbers = self._numbers.cast("Q")
        self._text_bytes = whole[_NUMBERS_BYTES : _NUMBERS_BYTES + WORD_BYTES].cast("Q")
        self._text = whole[_NUMBERS_BYTES + WORD_BYTES : _WAITS_BEGIN]
        self._all_waits = whole[_WAITS_BEGIN:SLOT_BYTES]
        self.waits = self._all_waits.cast("I")

    def clear(self) -> None:
        """Forget the pass before."""
        self._text_bytes[0] = 0
        self._all_waits[:] = bytes(len(self._all_waits))

    def write(self, *numbers: int) -> None:
        """Write all numbers, as ``NUMBERS`` names them."""
        _NUMBERS.pack_into(self._numbers, 0, *numbers)

    def name(self, servers: Sequence[str]) -> None:
        """Write the servers; the oldest are left out when they are too many."""
        text = b""
        for server in reversed(servers):
            line = server.encode()[: MOST_TEXT_BYTES - 1] + b"\n"
            if len(line) + len(text) > MOST_TEXT_BYTES:
                break
            text = line + text
        self._text_bytes[0] = 0
        self._text[: len(text)] = text
        self._text_bytes[0] = len(text)

    def snapshot(self, worker: int | None) -> Snapshot:
        """Return the counts of a worker, or of no worker, as they are now."""
        numbers = dict(zip(NUMBERS, self.numbers.tolist(), strict=True))
        servers = tuple(self._named().decode(errors="replace").split("\n")[:-1])
        return Snapshot(worker=worker, **numbers, waits=self.waits.tolist(), servers=servers)

    def _named(self) -> bytes:
        for _ in range(_LOOKS):
            size_bytes = self._text_bytes[0]
            text = bytes(self._text[:size_bytes])
            if self._text_bytes[0] == size_bytes:
                break
        return text
