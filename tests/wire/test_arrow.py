"""An Arrow body carries the rows of a selection, and stored batches as they stand on disk."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from samples import SAMPLES, same

from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.errors import BadParameter, PageCut, PageForeign
from fdss.rows import RowMaker
from fdss.storage import ArrowBackend, Folder, OpenOptions, open_dataset
from fdss.storage.ranges import FileRange
from fdss.wire import names
from fdss.wire.arrow import ArrowEncoding, decode_batches
from fdss.wire.encodings import choose_encoding

ROWS = 1000
BATCH_ROWS = 100

SELECTIONS = {
    "all": Selection(range(ROWS), range(ROWS)),
    "part": Selection(range(ROWS), range(37, 912)),
    "inside-one-batch": Selection(range(ROWS), range(110, 120)),
    "one-batch": Selection(range(ROWS), range(200, 300)),
    "stride": Selection(range(ROWS), range(5, ROWS, 7)),
    "seed": Selection(range(ROWS), range(11, 700), seed=7, window=100),
    "sliced-seed": Selection(range(100, 900, 3), range(200), seed=7),
    "columns": Selection(range(ROWS), range(50, 250), columns=("text", "n")),
    "nothing": Selection(range(ROWS), range(0)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Save a dataset in batches of 100 rows."""
    rows = {"n": list(range(ROWS)), "text": [f"row {n} " * (n % 9) for n in range(ROWS)]}
    dataset = datasets.Dataset.from_dict(rows)
    schema = dataset.data.schema
    path = tmp_path / "rows.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in dataset.data.table.combine_chunks().to_batches(BATCH_ROWS):
            writer.write_batch(batch)
    return path


@pytest.fixture
def backend(folder: Path, tmp_path: Path) -> ArrowBackend:
    """Open it."""
    options = OpenOptions(tmp_path / "index", tmp_path / "cache", tmp_path / "hub")
    return open_dataset(Folder(folder), LoadArguments(str(folder)), options)


def body(backend: ArrowBackend, selection: Selection, compression: str | None = None) -> bytes:
    return b"".join(
        bytes(part) for part in ArrowEncoding(compression).encode(backend, selection).read()
    )


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=SELECTIONS)
def test_bodies_carry_the_selection(
    backend: ArrowBackend, selection: Selection, compression: str | None
) -> None:
    """Any standard reader finds the selected rows in the body."""
    expected = (
        pa.Table.from_batches(backend.batches(selection), backend.schema)
        if len(selection) and selection.columns is None
        else None
    )
    with pa.ipc.open_stream(body(backend, selection, compression)) as reader:
        found = reader.read_all()
    rows = [row for chunk in backend.chunks(selection) for row in chunk.rows()]

    assert found.to_pylist() == rows
    assert expected is None or found.schema.equals(expected.schema, check_metadata=True)


def test_whole_batches_are_the_stored_bytes(backend: ArrowBackend, folder: Path) -> None:
    """A body of a whole file is that file, byte for byte."""
    assert body(backend, SELECTIONS["all"]) == folder.read_bytes()


def test_whole_batches_are_not_copied(backend: ArrowBackend) -> None:
    """Batches that are wanted whole are a range of the file, which nobody has read."""
    selection = Selection(range(ROWS), range(50, 950))
    parts = list(ArrowEncoding().encode(backend, selection).chunks)

    # Schema, two cut batches, eight whole ones together, the end.
    assert [isinstance(part, FileRange) for part in parts] == [False, False, True, False, False]


@pytest.mark.parametrize("name", ["all", "part", "inside-one-batch", "one-batch", "nothing"])
def test_the_size_of_stored_rows_is_known(backend: ArrowBackend, name: str) -> None:
    """Rows in stored order have a known size, also of some columns; gathered ones have none."""
    selection = SELECTIONS[name]
    narrow = replace(selection, columns=("text",))

    assert ArrowEncoding().encode(backend, selection).size_bytes == len(body(backend, selection))
    assert ArrowEncoding().encode(backend, narrow).size_bytes == len(body(backend, narrow))
    assert ArrowEncoding("zstd").encode(backend, selection).size_bytes is None
    assert ArrowEncoding().encode(backend, SELECTIONS["seed"]).size_bytes is None


def test_compression_makes_bodies_smaller(backend: ArrowBackend) -> None:
    """Compressed bodies are smaller than plain ones."""
    plain = len(body(backend, SELECTIONS["seed"]))

    assert len(body(backend, SELECTIONS["seed"], "zstd")) < plain
    assert len(body(backend, SELECTIONS["seed"], "lz4")) < plain


@pytest.mark.parametrize("name", SAMPLES)
def test_every_feature_survives(name: str, tmp_path: Path) -> None:
    """Every feature type gives the rows that ``datasets`` gives."""
    dataset = SAMPLES[name].dataset()
    dataset.save_to_disk(str(tmp_path / "saved"))
    options = OpenOptions(tmp_path / "index", tmp_path / "cache", tmp_path / "hub")
    path = tmp_path / "saved"
    backend = open_dataset(Folder(path), LoadArguments(str(path)), options)
    selection = Selection(range(len(backend)), range(len(backend)), seed=3, block=1)
    maker = RowMaker(backend.features)
    found = [
        row
        for batch in decode_batches(io.BytesIO(body(backend, selection)))
        for row in maker.rows(batch)
    ]
    expected = [row for chunk in backend.chunks(selection) for row in chunk.rows()]

    assert same(found, expected)


def test_a_cut_body_is_no_end(backend: ArrowBackend) -> None:
    """A body that ends anywhere but at its end marker is cut."""
    whole = body(backend, SELECTIONS["all"])
    for length in (len(whole) // 2, len(whole) - 9):
        with pytest.raises((PageCut, PageForeign)):
            list(decode_batches(io.BytesIO(whole[:length])))


def test_what_is_no_arrow_is_refused() -> None:
    """Text where Arrow was asked for is refused."""
    with pytest.raises((PageForeign, PageCut)):
        list(decode_batches(io.BytesIO(b"<html>no</html>" * 100)))


def test_arrow_is_for_those_who_ask() -> None:
    """Arrow is chosen by its name in Accept, and parameters of the other encoding are refused."""
    assert choose_encoding(f"{names.ARROW}, */*;q=0.1", {}).media_type == names.ARROW
    assert choose_encoding("*/*", {}).media_type == names.NDJSON
    for accept, parameters in (
        (names.ARROW, {"types": "tagged"}),
        (names.ARROW, {"compression": "gzip"}),
        (None, {"compression": "zstd"}),
    ):
        with pytest.raises(BadParameter):
            choose_encoding(accept, parameters)
