"""A few rows cost the pages that they lie in, however large the batch that they are stored in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from fdss.backend import Selection
from fdss.storage import ArrowBackend

ROWS = 20_000
ROW_BYTES = 2_000
Write = Callable[..., Path]
Open = Callable[..., ArrowBackend]


def test_shuffled_rows_do_not_bring_in_their_whole_batch(write: Write, open_at: Open) -> None:
    """The first look at a batch of 40 MB for 16 of its rows reads a small part of it."""
    texts = ["ä" + "x" * ROW_BYTES] * ROWS
    file = write("one-large-batch/data.arrow", [{"id": range(ROWS), "text": texts}])
    backend = open_at(file.parent)
    before = pa.total_allocated_bytes()
    [gathered] = backend.batches(Selection(range(ROWS), range(16), seed=1))
    assert gathered.column("text").to_pylist() == texts[:16]
    assert pa.total_allocated_bytes() - before < ROWS * ROW_BYTES / 100
