"""A few rows cost the pages that they lie in, however large the batch that they are stored in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fdss.backend import Selection
from fdss.storage import ArrowBackend

ROWS = 20_000
ROW_BYTES = 2_000
Write = Callable[..., Path]
Open = Callable[..., ArrowBackend]


def resident_bytes(file: Path) -> int:
    """Return how much of the memory maps of a file is in this process."""
    sizes: list[int] = []
    is_of_file = False
    for line in Path("/proc/self/smaps").read_text("ascii", "replace").splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            is_of_file = bool(rest) and rest[-1].endswith(file.name)
        elif is_of_file and name == "Rss:":
            sizes.append(int(rest[0]) * 1024)
    return sum(sizes)


@pytest.mark.only_on("linux")
def test_shuffled_rows_do_not_bring_in_their_whole_batch(write: Write, open_at: Open) -> None:
    """The first look at a batch of 40 MB for 16 of its rows reads a small part of it."""
    texts = ["ä" + "x" * ROW_BYTES] * ROWS
    file = write("one-large-batch/data.arrow", [{"id": range(ROWS), "text": texts}])
    backend = open_at(file.parent)
    before = resident_bytes(file)
    [gathered] = backend.batches(Selection(range(ROWS), range(16), seed=1))
    assert gathered.column("text").to_pylist() == texts[:16]
    assert resident_bytes(file) - before < ROWS * ROW_BYTES / 10
