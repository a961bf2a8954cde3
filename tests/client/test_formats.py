"""Formats: rows and batches with the values and types that ``datasets`` gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from datasets import Array2D, Dataset, Features, List, Value
from resuming import assert_resumes_everywhere
from samples import SAMPLES, Sample, same, stored_batch

from fdss.backend import Chunk, FeaturesJson, Selection
from fdss.client import ComposableIterableDataset, InMemoryBackend
from fdss.errors import BadParameter, BadRequest, UncarriableValue, UnsupportedStep
from fdss.order import Order
from fdss.rows import BatchChunk, RowMaker, features_of
from fdss.wire.ndjson import RowsChunk, decode_lines, encode_batch

# Older versions of datasets give other values for nulls, and other batches behind filters.
pytestmark = pytest.mark.newest_datasets

FORMATS = ["python", "numpy", "arrow", "pandas", pytest.param("torch", marks=pytest.mark.torch)]
ARRAYS = ["numpy", pytest.param("torch", marks=pytest.mark.torch)]
TABLES = ["arrow", "pandas"]

Pipe = Callable[[Any], Any]


class Stored:
    """A backend of one record batch, cut into small chunks of columns or of JSON lines."""

    fingerprint = "f"

    def __init__(self, batch: pa.RecordBatch, *, chunk_rows: int = 2, lines: bool = False) -> None:
        self._batch = batch
        self._chunk_rows = chunk_rows
        self._lines = lines
        self.column_names = list(batch.schema.names)
        self.features: FeaturesJson = features_of(batch.schema)

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def chunks(self, selection: Selection) -> Iterator[Chunk]:
        order = Order(len(selection.rows), selection.seed, selection.block, selection.window)
        batch = self._batch
        if selection.columns is not None:
            batch = batch.select(list(selection.columns))
        maker = RowMaker(self.features, selection.columns)
        for begin in range(0, len(selection), self._chunk_rows):
            positions = np.array(selection.positions[begin : begin + self._chunk_rows])
            places = [selection.rows[at] for at in order.rows(positions).tolist()]
            if places == list(range(places[0], places[-1] + 1)):
                part = batch.slice(places[0], len(places))
            else:
                part = batch.take(pa.array(places))
            if self._lines:
                lines = encode_batch(part, "tagged").split(b"\n")[:-1]
                yield RowsChunk(decode_lines(lines, "tagged"), maker)
            else:
                yield BatchChunk(part, maker)


def ours(dataset: Dataset, **options: Any) -> ComposableIterableDataset:
    return ComposableIterableDataset(Stored(stored_batch(dataset), **options))


def alike(left: Any, right: Any) -> bool:
    """Tell whether two formatted values are of equal types, shapes and values."""
    if type(left) is not type(right) and not isinstance(left, np.datetime64):
        return False
    if isinstance(left, pa.Table):
        if not left.schema.equals(right.schema):
            return False
        return bool(left.equals(right)) or str(left.to_pylist()) == str(right.to_pylist())
    if isinstance(left, pd.DataFrame):
        return (
            list(left.columns) == list(right.columns)
            and list(left.index) == list(right.index)
            and all(alike_series(left[name], right[name]) for name in left.columns)
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, np.ndarray | np.generic):
        return alike_arrays(np.asarray(left), np.asarray(right))
    if type(left).__module__ == "torch":
        return bool(left.dtype == right.dtype) and alike_arrays(left.numpy(), right.numpy())
    return same(left, right) or left is right or left != left


def alike_series(left: Any, right: Any) -> bool:
    return str(left.dtype) == str(right.dtype) and all(map(alike, left, right))


def alike_arrays(left: Any, right: Any) -> bool:
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype == object:
        return all(map(alike, left.ravel(), right.ravel()))
    return np.array_equal(left, right, equal_nan=left.dtype.kind in "fcmM")


def check(ours_: Any, theirs: Any) -> None:
    """Compare what two iterations give; what ``datasets`` has no form for is refused."""
    with np.errstate(all="ignore"):
        try:
            right = list(theirs)
        except (TypeError, ValueError, RuntimeError, AttributeError):
            with pytest.raises(UncarriableValue):
                list(ours_)
            return
        left = list(ours_)

    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert alike(one, other), f"{one!r} is not {other!r}"


def _one(feature: Any, *cells: Any) -> Sample:
    return Sample(Features({"v": feature}), lambda: {"v": list(cells)})


NUMBERS = {
    **{
        f"{dtype} without null": _one(Value(dtype), *(np.arange(5) % 2).astype(dtype))
        for dtype in (
            *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64", "bool"),
        )
    },
    **{
        f"lists of {dtype}": _one(List(Value(dtype)), *np.arange(12).reshape(4, 3).astype(dtype))
        for dtype in ("int8", "uint16", "int32", "uint64", "float16", "float32", "float64", "bool")
    },
    "ragged lists": _one(List(Value("int32")), [1, 2], [], [3], [4, 5, 6], [7]),
    "ragged large lists": _one(datasets.LargeList(Value("float64")), [1, 2], [], [3], [4, 5, 6]),
    "empty lists": _one(List(Value("int32")), [], [], []),
    "fixed lists": _one(List(Value("float32"), length=2), [1, 2], [3, 4], [5, 6]),
    "texts": _one(Value("string"), "a", "", "ö\0", "long " * 9),
    "arrays": _one(Array2D((2, 2), "float64"), *np.arange(12).reshape(3, 2, 2) / 7),
    "beyond float32": _one(Value("float64"), 1e300, -1e300, 1.0),
    "tokens": _one(List(Value("int32")), *np.arange(5 * 2048, dtype=np.int32).reshape(5, 2048)),
    "several columns": Sample(
        Features(
            {
                "id": Value("int32"),
                "text": Value("string"),
                "tokens": List(Value("int32")),
                "maybe": Value("int32"),
                "struct": {"a": Value("int8"), "b": List(Value("string"))},
            }
        ),
        lambda: {
            "id": list(range(7)),
            "text": [f"text {n}" for n in range(7)],
            "tokens": [[n] * (n % 3) for n in range(7)],
            "maybe": [None if n % 3 == 1 else n for n in range(7)],
            "struct": [{"a": n, "b": ["x"] * n} for n in range(7)],
        },
    ),
}
ALL = {**SAMPLES, **NUMBERS}


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("sample", ALL)
def test_rows_are_those_of_datasets(sample: str, format_: str) -> None:
    """A row of any feature in any format is the one ``datasets`` gives."""
    theirs = ALL[sample].dataset()

    check(ours(theirs).with_format(format_), _theirs(theirs, format_))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("sample", ALL)
def test_batches_are_those_of_datasets(sample: str, format_: str) -> None:
    """A batch of any feature in any format is the one ``datasets`` gives."""
    theirs = ALL[sample].dataset()
    expected = _theirs(theirs, format_)

    for rows in (1, 3, 100):
        if (sample, format_) == ("array2d dynamic", "python") and rows > 1:
            continue  # datasets fails on a null among arrays of different lengths
        check(ours(theirs).with_format(format_).iter(rows), expected.iter(rows))


def _theirs(dataset: Dataset, format_: str) -> Any:
    return dataset.with_format(None if format_ == "python" else format_)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("sample", ["several columns", "list int", "array2d", "date32"])
def test_rows_that_came_as_json_are_the_same(sample: str, format_: str) -> None:
    """Rows that arrived as JSON lines come in a format as rows that arrived as columns do."""
    theirs = ALL[sample].dataset()
    expected = _theirs(theirs, format_)

    check(ours(theirs, lines=True).with_format(format_), expected)
    check(ours(theirs, lines=True).with_format(format_).iter(3), expected.iter(3))


def test_media_that_came_as_json_are_refused() -> None:
    """Images whose bytes are gone are not encoded anew for a format."""
    dataset = ours(SAMPLES["image"].dataset(), lines=True)

    assert len(list(dataset)) == 4
    with pytest.raises(UnsupportedStep, match="'v'"):
        list(dataset.with_format("numpy"))


MANY = NUMBERS["several columns"].dataset


def no_struct(dataset: Any) -> Any:
    return dataset.remove_columns("struct")


FUNCTIONS: dict[str, Pipe] = {
    "map": lambda ds: ds.map(lambda row: {"id2": row["id"] * 2, "kind": str(type(row["id"]))}),
    "map python": lambda ds: ds.map(lambda row: {"f": 0.5, "l": [1, 2], "s": "x", "n": None}),
    "map twice": lambda ds: ds.map(lambda row: {"f": 0.5}).map(lambda row: {"g": row["f"]}),
    "map indices": lambda ds: ds.map(lambda row, n: {"n": n}, with_indices=True),
    "map columns": lambda ds: ds.map(
        lambda text, tokens: {"t": text, "kind": f"{type(text)}{type(tokens)}"},
        input_columns=["text", "tokens"],
        remove_columns=["text"],
    ),
    "batched": lambda ds: ds.map(
        lambda batch: {
            "id2": [2 * n for n in batch["id"]],
            "kinds": [f"{name} {type(values)}" for name, values in batch.items()][:1]
            * len(batch["id"]),
        },
        batched=True,
        batch_size=3,
    ),
    "batched all": lambda ds: ds.map(
        lambda batch, n: {"n": n, "same": batch["tokens"]},
        batched=True,
        batch_size=None,
        with_indices=True,
    ),
    "batched drop": lambda ds: ds.map(
        lambda batch: {"t": batch["text"]}, batched=True, batch_size=4, drop_last_batch=True
    ),
    "filter": lambda ds: ds.filter(lambda row: row["id"] % 2 == 0),
    "filter batched": lambda ds: ds.filter(
        lambda batch: [n % 2 == 0 for n in batch["id"]], batched=True, batch_size=3
    ),
    "filter map": lambda ds: ds.filter(lambda row: row["id"] != 2).map(
        lambda batch: {"k": batch["id"]}, batched=True, batch_size=2
    ),
    "batch": lambda ds: ds.batch(3),
    "batch map": lambda ds: ds.batch(3).map(lambda row: {"k": row["id"], "t": row["text"]}),
    "map batch": lambda ds: ds.map(lambda row: {"k": row["id"]}).batch(2),
    "map take": lambda ds: ds.map(lambda row: {"k": row["id"]}).take(3),
}


# What datasets does to tensors itself.
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
@pytest.mark.parametrize("format_", ["python", *ARRAYS])
@pytest.mark.parametrize("pipe", FUNCTIONS)
def test_functions_are_given_what_datasets_gives_them(pipe: str, format_: str) -> None:
    """Behind ``with_format`` functions see rows in it, and what comes out is in it."""
    dataset = MANY()
    if format_ == "torch":
        dataset = dataset.remove_columns("struct")
    theirs = FUNCTIONS[pipe](_theirs(dataset.to_iterable_dataset(), format_))
    piped = FUNCTIONS[pipe](ours(dataset).with_format(format_))

    check(piped, theirs)
    if format_ != "python" or "batch" not in pipe:
        check(piped.iter(2), theirs.iter(2))


TABLE_FUNCTIONS: dict[str, Pipe] = {
    "map": lambda ds: ds.map(lambda table: table),
    "map indices": lambda ds: ds.map(
        lambda table, n: pa.table({"n": pa.array([n], pa.int8())}), with_indices=True
    ),
    "batched": lambda ds: ds.map(
        lambda table: pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else table,
        batched=True,
        batch_size=3,
        remove_columns=["text"],
    ),
    "frame": lambda ds: ds.map(
        lambda table: (
            table[["id"]] if isinstance(table, pd.DataFrame) else table.to_pandas()[["id", "text"]]
        ),
        batched=True,
        batch_size=4,
    ),
    "growing": lambda ds: ds.map(
        lambda table: pa.table({"n": range(2 * len(table))}), batched=True, batch_size=3
    ),
    "batched all": lambda ds: ds.map(
        lambda table, n: pa.table({"n": n}), batched=True, batch_size=None, with_indices=True
    ),
    "twice": lambda ds: ds.map(lambda table: table, batched=True, batch_size=3).map(
        lambda table: pa.table({"rows": [len(table)]}), batched=True, batch_size=2
    ),
    "filter": lambda ds: ds.filter(lambda table: table["id"][0] != (pa.scalar(2, pa.int32()))),
    "filter batched": lambda ds: ds.filter(
        lambda table: [n % 2 == 0 for n in range(len(table))], batched=True, batch_size=3
    ),
    "then python": lambda ds: (
        ds.map(lambda table: table, batched=True, batch_size=3)
        .with_format(None)
        .map(lambda row: {"k": row["text"]})
    ),
    "then numpy": lambda ds: ds.map(lambda table: table, batched=True).with_format("numpy"),
    "batch": lambda ds: ds.batch(3),
}


@pytest.mark.parametrize("format_", TABLES)
@pytest.mark.parametrize("pipe", TABLE_FUNCTIONS)
def test_functions_are_given_tables(pipe: str, format_: str) -> None:
    """Behind "arrow" and "pandas" functions see tables, and the table they return comes out."""
    dataset = MANY()
    if format_ == "pandas":
        # An integer column is one of floating point numbers in each frame with a null.
        dataset = dataset.remove_columns(["struct", "maybe"])
    theirs = TABLE_FUNCTIONS[pipe](dataset.to_iterable_dataset().with_format(format_))
    piped = TABLE_FUNCTIONS[pipe](ours(dataset).with_format(format_))

    check(piped, theirs)
    if pipe not in ("growing", "batch"):
        check(piped.iter(2), theirs.iter(2))


def test_tables_that_do_not_fit_together_are_refused() -> None:
    """A batch is not made of tables of different columns."""
    changing = ours(MANY()).with_format("arrow").map(lambda table: table.select([len(table) - 1]))
    other = (
        ours(MANY())
        .with_format("arrow")
        .map(lambda table, n: pa.table({f"n{n}": [n]}), with_indices=True)
    )

    untold = InMemoryBackend([{"n": None, "list": []}, {"n": 1, "list": [1]}])
    kept = ComposableIterableDataset(untold).with_format("arrow").filter(lambda table: [True])

    assert len(list(changing.iter(3))) == 3
    assert next(kept.iter(2)).to_pydict() == {"n": [None, 1], "list": [[], [1]]}
    with pytest.raises(UncarriableValue, match="fit together"):
        next(other.iter(2))


def test_a_table_function_must_return_a_table() -> None:
    """A dict that a function makes of a table is refused, as nothing is merged."""
    with pytest.raises(BadRequest, match="pyarrow.Table"):
        list(ours(MANY()).with_format("arrow").map(lambda table: {"a": [1]}))


@pytest.mark.parametrize("format_", FORMATS)
def test_column_steps_keep_columns(format_: str) -> None:
    """Selected, renamed and removed columns come as those of a ``Dataset`` do."""

    def piped(dataset: Any) -> Any:
        renamed = dataset.rename_column("id", "number").remove_columns("struct")
        return renamed.select_columns(["tokens", "number", "maybe"])

    dataset = MANY()

    check(piped(ours(dataset).with_format(format_)), _theirs(piped(dataset), format_))
    check(
        piped(ours(dataset)).with_format(format_).iter(3), _theirs(piped(dataset), format_).iter(3)
    )


# What datasets does to tensors itself.
@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")
@pytest.mark.parametrize("format_", FORMATS)
def test_rows_without_columns_of_their_own(format_: str) -> None:
    """Rows a program made come as those of a generator do in ``datasets``."""
    rows = [{"i": n, "f": n / 2, "s": f"{n}", "l": [1.5, n], "b": True} for n in range(5)]
    made = ComposableIterableDataset(InMemoryBackend(rows)).with_format(format_)
    theirs = _theirs(datasets.IterableDataset.from_generator(lambda: iter(rows)), format_)

    check(made, theirs)
    check(made.iter(2), theirs.iter(2))


@pytest.mark.parametrize("format_", ARRAYS)
def test_values_may_be_written_to(format_: str) -> None:
    """What a loop does to a row changes neither another row nor the data."""
    dataset = ours(NUMBERS["tokens"].dataset()).with_format(format_)
    first, second = list(dataset)[:2]
    kept = second["v"][0]
    first["v"][:] = -1

    assert second["v"][0] == kept == next(iter(dataset.skip(1)))["v"][0]
    assert next(iter(dataset))["v"][0] == 0


def test_arrow_batches_are_not_copied() -> None:
    """A batch within one page lies where the page lies."""
    batch = stored_batch(NUMBERS["tokens"].dataset())
    dataset = ComposableIterableDataset(Stored(batch, chunk_rows=5)).with_format("arrow")
    held = [b.address for b in batch.column(0).buffers() if b is not None]
    for table in dataset.iter(2):
        chunk = table.column(0).chunk(0)

        assert [b.address for b in chunk.buffers() if b is not None] == held


def test_an_unknown_format_is_refused() -> None:
    """A format that does not exist is refused with those that do."""
    with pytest.raises(BadParameter) as caught:
        ours(MANY()).with_format("tensorflow")
    assert "pandas" in caught.value.hint
    with pytest.raises(BadParameter):
        ours(MANY()).iter(0)


def test_features_are_followed_through_steps() -> None:
    """``features`` are those of the rows that come out, or None where only a function knows."""
    dataset = ours(MANY())
    stored = MANY().features
    said = Features({"a": Value("int8")})
    renamed = dataset.rename_column("id", "n").remove_columns(["struct", "maybe"])

    assert renamed.features == Features(
        {"n": stored["id"], **{k: stored[k] for k in ("text", "tokens")}}
    )
    assert dataset.select_columns(["text"]).filter(bool).features == Features(text=stored["text"])
    assert dataset.batch(3).features == MANY().batch(3).features
    assert dataset.with_indices().features == Features({**stored, "index": Value("int64")})
    assert dataset.map(lambda row: row).features is None
    assert dataset.map(lambda row: row, features=said).features == said
    assert dataset.map(lambda row: row, features=said).column_names == ["a"]


class Batches:
    """A dataset whose rows are batches, in a form that can be compared."""

    def __init__(self, dataset: ComposableIterableDataset, rows: int | None) -> None:
        self._dataset = dataset
        self._rows = rows
        self.set_epoch = dataset.set_epoch
        self.state_dict = dataset.state_dict
        self.load_state_dict = dataset.load_state_dict

    def __iter__(self) -> Any:
        inner = iter(self._dataset) if self._rows is None else self._dataset.iter(self._rows)

        class Texts:
            state_dict = inner.state_dict
            load_state_dict = inner.load_state_dict

            def __iter__(self) -> Texts:
                return self

            def __next__(self) -> str:
                item = next(inner)
                return str(item.to_pylist() if isinstance(item, pa.Table) else item)

        return Texts()


RESUMED: dict[str, Pipe] = {
    "stored": lambda ds: ds,
    "shuffled": lambda ds: ds.shuffle(seed=7, buffer_size=4, block_size=2),
    "columns": lambda ds: ds.rename_column("id", "n").remove_columns("struct"),
    "map": lambda ds: no_struct(ds).map(lambda x: x),
    "batched": lambda ds: no_struct(ds).map(lambda x: x, batched=True, batch_size=3),
    "filter": lambda ds: ds.filter(
        lambda x: len(str(x["id"][0:1] if hasattr(x, "shape") else x["id"])) > 0
    ),
    "batch": lambda ds: ds.batch(2),
    "indices": lambda ds: ds.with_indices(),
}


@pytest.mark.parametrize("rows", [None, 1, 3, 50])
@pytest.mark.parametrize("pipe", RESUMED)
@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_resumes_everywhere(format_: str, pipe: str, rows: int | None) -> None:
    """Rows and batches of every format go on exactly where a state says."""
    dataset = MANY() if format_ != "pandas" else MANY().remove_columns("maybe")

    def make() -> Any:
        return Batches(RESUMED[pipe](ours(dataset).with_format(format_)), rows)

    assert_resumes_everywhere(make)


@pytest.mark.parametrize("pipe", ["stored", "shuffled", "columns", "filter", "batch"])
def test_a_state_holds_in_another_format(pipe: str) -> None:
    """A state of one format is one of any other, row for row and batch for batch."""
    base = RESUMED[pipe](ours(MANY()))
    expected = list(RESUMED[pipe](ours(MANY()).with_format("arrow")))
    iterator = base.iter(3)
    next(iterator)
    resumed = RESUMED[pipe](ours(MANY()).with_format("arrow"))
    resumed.load_state_dict(json.loads(json.dumps(base.state_dict())))

    check(resumed, expected[3:])


def test_batches_are_counted_as_rows() -> None:
    """A pass by the batch shows the length that a pass by the row does."""
    dataset = ours(MANY()).filter(lambda row: row["id"] != 2)
    for _ in dataset.iter(4):
        pass

    assert dataset.get_length_stats()["cached_exact"] == 6
    assert [len(batch["id"]) for batch in dataset.iter(4, drop_last_batch=True)] == [4]
