"""Whether what is compressed in a message can be held when it is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from .limits import MAX_BATCH_BYTES
from .messages import DICTIONARY, RECORD_BATCH, Metadata

_LENGTH_BYTES = 8


def check_expansion(message: pa.Message) -> None:
    """Look at the size that each compressed buffer of a message is told to have.

    Raises:
        ValueError: They are together larger than ``MAX_BATCH_BYTES``, or lie outside of it.
        struct.error, IndexError: It is no sound message.
    """
    metadata = Metadata(message.metadata.to_pybytes(), 0)
    if metadata.kind not in (RECORD_BATCH, DICTIONARY) or not metadata.is_compressed:
        return
    at, count = metadata.vector(2)
    pairs = np.frombuffer(metadata.content, "<i8", 2 * count, at).reshape(-1, 2)
    body = memoryview(message.body).cast("B")
    total = 0
    for offset, size in pairs.tolist():
        if offset < 0 or size < 0 or offset + size > len(body):
            raise ValueError("a buffer outside of its message")
        if size < _LENGTH_BYTES:
            continue
        told = int.from_bytes(body[offset : offset + _LENGTH_BYTES], "little", signed=True)
        # What did not get smaller is kept as it was, and told to have a size of -1.
        total += size if told == -1 else told
        if told < -1 or total > MAX_BATCH_BYTES:
            raise ValueError("buffers that are too large when they are not compressed")
