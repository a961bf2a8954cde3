"""Messages are found where Arrow wrote them, and damage is told by name only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from fdss.errors import DatasetDamaged
from fdss.storage.messages import DICTIONARY, END, RECORD_BATCH, SCHEMA, messages

BATCHES = [
    {"a": pa.array(range(count), pa.int64()), "b": pa.array(["x"] * count, pa.string())}
    for count in (3, 0, 70, 1)
]


@pytest.mark.parametrize("is_file", [False, True])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_places(write: Callable[..., Path], is_file: bool, compression: str | None) -> None:
    """Offsets, lengths and row counts are those that Arrow itself reads."""
    path = write("x.arrow", BATCHES, is_file=is_file, compression=compression)
    content = path.read_bytes()
    schema, *found, end = messages(path)
    stored = pa.ipc.read_schema(pa.py_buffer(content[schema.offset :][: schema.length]))
    assert (schema.kind, end.kind) == (SCHEMA, END)
    assert stored.names == ["a", "b"]
    assert [message.rows for message in found] == [3, 0, 70, 1]
    assert all(message.kind == RECORD_BATCH for message in found)
    assert found[2].is_compressed == (compression is not None)
    for message in found:
        part = content[message.offset :][: message.length]
        batch = pa.ipc.read_record_batch(pa.ipc.read_message(part), stored)
        assert batch.num_rows == message.rows


def test_dictionaries(write: Callable[..., Path]) -> None:
    """Dictionary messages are told apart from record batches, with their id."""
    words = pa.array(["x", "y", "x"]).dictionary_encode()
    kinds = [message.kind for message in messages(write("x.arrow", [{"w": words}] * 2))]
    assert kinds == [SCHEMA, DICTIONARY, RECORD_BATCH, RECORD_BATCH, END]


def test_legacy_framing(tmp_path: Path) -> None:
    """Streams of before Arrow 0.15, without the continuation marker, are walked as well."""
    path = tmp_path / "old.arrow"
    settings = pa.ipc.IpcWriteOptions(use_legacy_format=True)
    batch = pa.record_batch({"a": [1, 2]})
    with pa.ipc.new_stream(str(path), batch.schema, options=settings) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    assert [message.rows for message in messages(path)] == [0, 2, 2, 0]


def test_no_end_marker(write: Callable[..., Path]) -> None:
    """A stream whose writer never wrote the end marker is whole."""
    path = write("x.arrow", BATCHES)
    path.write_bytes(path.read_bytes()[:-8])
    found = list(messages(path))
    assert sum(message.rows for message in found) == 74
    assert END not in {message.kind for message in found}


@pytest.mark.parametrize("is_file", [False, True])
def test_every_cut_is_noticed(write: Callable[..., Path], is_file: bool) -> None:
    """A file cut anywhere but between two messages is damaged, and only its name is told."""
    path = write("folder/cut.arrow", BATCHES[:1], is_file=is_file)
    content = path.read_bytes()
    between = set() if is_file else {found.offset + found.length for found in messages(path)}
    # The last 8 bytes of a stream are the end marker, which it may lack.
    for size in set(range(1, len(content) - 8)) - between:
        path.write_bytes(content[:size])
        with pytest.raises(DatasetDamaged) as damaged:
            list(messages(path))
        assert "cut.arrow" in damaged.value.message
        assert "folder" not in damaged.value.message


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"PAR1" * 100, b"\xff" * 64, b"\0" * 64, b"ARROW1\0\0", b"text\n" * 99]
)
def test_foreign(tmp_path: Path, content: bytes) -> None:
    """A file of something else is damaged, whatever it holds."""
    path = tmp_path / "foreign.arrow"
    path.write_bytes(content)
    with pytest.raises(DatasetDamaged, match="foreign.arrow"):
        list(messages(path))
