"""Arrow files of every make, and the options they are opened with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.storage import ArrowBackend, Folder, OpenOptions, open_dataset

Write = Callable[..., Path]
Open = Callable[..., ArrowBackend]
Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def options(tmp_path: Path) -> OpenOptions:
    """Return options whose folders are all in the test's own."""
    return OpenOptions(tmp_path / "indexes", tmp_path / "datasets", tmp_path / "hub")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a call that writes batches of columns as an Arrow stream, or as an Arrow file."""

    def written(
        name: str, batches: Sequence[Any], *, is_file: bool = False, compression: str | None = None
    ) -> Path:
        made = [
            batch if isinstance(batch, pa.RecordBatch) else pa.record_batch(batch)
            for batch in batches
        ]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = pa.ipc.new_file if is_file else pa.ipc.new_stream
        settings = pa.ipc.IpcWriteOptions(compression=compression)
        with new(str(path), made[0].schema, options=settings) as writer:
            for batch in made:
                writer.write_batch(batch)
        return path

    return written


@pytest.fixture
def open_at(options: OpenOptions) -> Open:
    """Return a call that opens a path."""

    def opened(path: Path, **arguments: Any) -> ArrowBackend:
        return open_dataset(Folder(path), LoadArguments("local/it", **arguments), options)

    return opened


@pytest.fixture
def read() -> Read:
    """Return a call that reads the rows of a selection, by default all in stored order."""

    def rows(
        backend: ArrowBackend, rows: range | None = None, positions: range | None = None, **of: Any
    ) -> list[dict[str, Any]]:
        taken = range(len(backend)) if rows is None else rows
        places = range(len(taken)) if positions is None else positions
        chunks = list(backend.chunks(Selection(taken, places, **of)))
        found = [row for chunk in chunks for row in chunk.rows()]
        assert len(found) == sum(len(chunk) for chunk in chunks)
        return found

    return rows
