"""Damaged Arrow bodies by the thousand, in a process of their own: ``fuzz_arrow.py SEED COUNT``.

A body that ends the process, takes gigabytes or raises anything but a typed error is a finding;
the seed that was told last makes it again: ``fuzz_arrow.py SEED 1``.
"""

from __future__ import annotations

import datetime as dt
import decimal
import faulthandler
import io
import random
import struct
import sys
from typing import Any

import pyarrow as pa

from fdss.client.framing import CheckedMessages
from fdss.client.limits import ClientLimits
from fdss.errors import FdssError
from fdss.rows import BatchChunk, RowMaker, features_of
from fdss.wire.arrow import decode_batches

ROWS = 12
LIMITS = ClientLimits(row_bytes=1 << 24, batch_bytes=1 << 24)
MOST_BYTES = 6 << 30
EDGES = [0, 1, -1, 2, 7, 8, 63, 64, 255, 1 << 15, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62]
EDGES += [-(1 << 31), -(1 << 62), (1 << 63) - 1, 1 << 40, 12, 13, 24]
TEXTS = ["", "a", "grüße", "x" * 40, None] * 3
COLUMNS: dict[str, Any] = {
    "integers": pa.array([1, None, 3] * 4),
    "bytes": pa.array([b"", b"ab", None] * 4),
    "texts": pa.array(TEXTS[:ROWS]),
    "large": pa.array(TEXTS[:ROWS], pa.large_string()),
    "views": pa.array(TEXTS[:ROWS], pa.string_view()),
    "bits": pa.array([True, False, None] * 4),
    "lists": pa.array([[1, 2], [], None] * 4),
    "large lists": pa.array([["a"], [], None] * 4, pa.large_list(pa.string())),
    "fixed": pa.array([[1, 2], None, [3, 4]] * 4, pa.list_(pa.int16(), 2)),
    "structs": pa.array([{"a": "x", "b": [1.5]}, None, {"a": None, "b": None}] * 4),
    "maps": pa.array([[("k", 1)], [], None] * 4, pa.map_(pa.string(), pa.int8())),
    "kinds": pa.array(TEXTS[:ROWS]).dictionary_encode(),
    "nothing": pa.nulls(ROWS),
    "times": pa.array([dt.datetime(2020, 1, 1), None, dt.datetime(1, 1, 1)] * 4),
    "nanos": pa.array([1, None, -1] * 4, pa.timestamp("ns", "UTC")),
    "days": pa.array([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)] * 4),
    "amounts": pa.array([decimal.Decimal("1.5"), None, decimal.Decimal("-2.5")] * 4),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([5, 12], pa.int32()), pa.array(["a", "b"])),
    "list views": pa.array([[1], [], None] * 4, pa.list_view(pa.int8())),
}


def bodies() -> list[tuple[bytes, RowMaker]]:
    """Return sound bodies, and what makes rows of them."""
    found = []
    batches = [pa.record_batch({name: column}) for name, column in COLUMNS.items()]
    batches.append(pa.record_batch({name: COLUMNS[name] for name in ("texts", "lists", "kinds")}))
    for batch in batches:
        for compression in (None, "lz4", "zstd"):
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression=compression)
            with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
                writer.write_batch(batch.slice(0, 5))
                writer.write_batch(batch.slice(5))
            found.append((bytes(sink.getvalue()), RowMaker(features_of(batch.schema))))
    return found


def damaged(body: bytes, others: list[tuple[bytes, RowMaker]], draw: random.Random) -> bytes:
    """Return a body with one to four things wrong."""
    changed = bytearray(body)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed))
        kind = draw.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            width, code = draw.choice([(4, "<i"), (8, "<q"), (2, "<h")])
            at -= at % width
            bits = draw.choice(EDGES) % (1 << (8 * width - 1))
            value = struct.pack(code, draw.choice([bits, -bits]))
            changed[at : at + width] = value[: len(changed) - at]
        elif kind == 2:
            other = draw.choice(others)[0]
            begin = draw.randrange(len(other))
            part = other[begin : begin + draw.choice([1, 4, 8, 16, 64])]
            changed[at : at + len(part)] = part
        elif kind == 3:
            changed[at:at] = bytes(draw.randrange(1, 9))
        elif kind == 4 and len(changed) > 16:
            del changed[at : at + draw.randrange(1, 9)]
        else:
            changed[at] = draw.randrange(256)
    if draw.randrange(8) == 0:
        del changed[draw.randrange(len(changed)) :]
    return bytes(changed) or b"\0"


class _Body(io.BytesIO):
    def read(self, count: int | None = -1) -> Any:
        """Return bytes in memory that Arrow finds aligned as it is in the client."""
        return memoryview(pa.py_buffer(super().read(count)))


def decode(body: bytes, maker: RowMaker) -> int:
    """Return how many rows a body has before its end or its fault, all of them looked at."""
    rows = 0
    try:
        for batch in decode_batches(CheckedMessages(_Body(body), LIMITS, ROWS)):
            rows += len(str(BatchChunk(maker.checked(batch), maker).rows()))
    except FdssError:
        pass
    return rows


def main(seed: int, count: int) -> None:
    """Decode ``count`` damaged bodies."""
    faulthandler.enable()
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    sound = bodies()
    for number in range(seed, seed + count):
        draw = random.Random(number)
        body, maker = draw.choice(sound)
        sys.stdout.write(f"\r{number}")
        sys.stdout.flush()
        decode(damaged(body, sound, draw), maker)
    sys.stdout.write(f"\ndecoded {count}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
