"""Index files that anybody wrote: a sound index of the files, or none."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fuzz_examples import examples
from hypothesis import given, strategies as st

from fdss.storage.index import MAGIC, build_index, index_path, load_index, save_index
from fdss.storage.messages import messages
from fdss.storage.stamps import Stamp, stamps_of

HEADER_AT = 56
KEYS = ["files", "schema", "shapes", "is_compressed", "fingerprint"]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 1 << 65), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
SHAPES = st.lists(st.lists(st.integers(-3, 1 << 40), max_size=3), max_size=5)
CHANGES = st.one_of(st.tuples(st.sampled_from(KEYS), JSON), st.tuples(st.just("shapes"), SHAPES))
Kept = tuple[Path, bytes, tuple[Stamp, ...]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Return an index file, what stands in it, and the files it describes."""
    folder = tmp_path_factory.mktemp("index")
    path = folder / "rows.arrow"
    batch = pa.record_batch({"n": range(10)})
    with pa.ipc.new_stream(str(path), batch.schema) as writer:
        for _ in range(3):
            writer.write_batch(batch)
    files = stamps_of([path])
    index = index_path(folder, files)
    save_index(index, build_index(files, [messages(path)]))
    return index, index.read_bytes(), files


@examples(300)
@given(data=st.data())
def test_damaged_index(kept: Kept, data: Any) -> None:
    """An index with other bytes in it is read as one, or counts as none."""
    path, whole, files = kept
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(bytes(changed))

    found = load_index(path, files)
    assert found is None or found.rows == found.first_rows[-1]


@examples(300)
@given(change=CHANGES)
def test_index_with_another_header(kept: Kept, change: tuple[str, Any]) -> None:
    """A header that says anything, under a digest that fits, is read or counts as none."""
    path, whole, files = kept
    (length,) = struct.unpack_from("<Q", whole, len(MAGIC))
    header = {**json.loads(whole[HEADER_AT : HEADER_AT + length]), change[0]: change[1]}
    encoded = json.dumps(header).encode()
    lead = MAGIC + struct.pack("<Q", len(encoded)) + hashlib.sha256(encoded).digest()
    begin = -(-(len(lead) + len(encoded)) // 64) * 64
    arrays = whole[-(-(HEADER_AT + length) // 64) * 64 :]
    path.write_bytes((lead + encoded).ljust(begin, b"\0") + arrays)

    found = load_index(path, files)
    assert found is None or found.rows == found.first_rows[-1]
