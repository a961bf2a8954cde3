"""Rows as ``datasets`` gives them, from record batches of storage types.

Most columns need nothing but Arrow: their values are made a column at a time, and ``datasets``
is not imported. Columns whose feature makes other objects (Image, Audio, Video, Array2D to
Array5D, Json, and whatever a later version brings) go through ``datasets`` itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson, Row
from fdss.bounds import check_bounds
from fdss.enclosed import check_enclosed, check_pixels, is_plain as is_plain
from fdss.errors import DatasetDamaged, FdssError, PageForeign, UncarriableValue
from fdss.features import (
    LIST_FEATURES as LIST_FEATURES,
    describes,
    features_of as features_of,
    storage_type as storage_type,
)


class RowMaker:
    """Makes the rows of one dataset.

    Args:
        features: HF features as JSON, a name to a feature, in stored order.
        columns: Columns of the rows, in this order; None for all.
        image_pixels: Most pixels of an image that is decoded; 0 for as many as Pillow decodes.
    """

    def __init__(
        self,
        features: FeaturesJson,
        columns: Iterable[str] | None = None,
        *,
        image_pixels: int = 0,
    ) -> None:
        self._names = list(features if columns is None else columns)
        self._features = {name: features[name] for name in self._names}
        self._special = {name for name in self._names if not is_plain(features[name])}
        self._image_pixels = image_pixels
        self._fitting: pa.Schema | None = None

    def rows(self, batch: pa.RecordBatch) -> list[Row]:
        """Return the rows of a batch, equal to iterating a ``datasets.Dataset`` of it.

        Raises:
            UncarriableValue: A column holds a value that Python has no type for.
        """
        if not self._names:
            return [{} for _ in range(batch.num_rows)]
        if not self._special:
            # pytz, which older versions of Arrow ask for a time zone, raises a LookupError.
            with contextlib.suppress(ValueError, OverflowError, LookupError, pa.ArrowException):
                return list(batch.select(self._names).to_pylist())
        # Column by column, which also tells the one that holds a value Python cannot.
        columns = self.columns(batch)
        rows = zip(*columns.values(), strict=True)
        return [dict(zip(columns, values, strict=True)) for values in rows]

    def columns(self, batch: pa.RecordBatch) -> dict[str, list[Any]]:
        """Return the values of the rows column by column.

        Raises:
            UncarriableValue: A column holds a value that Python has no type for.
        """
        special = self._special
        return {
            name: self._decoder.decoded(name, batch.column(name))
            if name in special
            else _pylist(name, batch.column(name))
            for name in self._names
        }

    def checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch that came from elsewhere, if it has the columns of the rows.

        Raises:
            PageForeign: It has others, or is damaged.
        """
        try:
            self._check_schema(batch.schema)
            batch.validate()
            for column in batch.columns:
                check_bounds(column)
            for name in self._special:
                check_enclosed(name, self._features[name], batch.column(name))
        except (pa.ArrowException, ArithmeticError, LookupError, TypeError, ValueError) as exc:
            raise PageForeign(f"the record batch is damaged: {str(exc)[:200]}") from exc
        return batch

    def _check_schema(self, schema: pa.Schema) -> None:
        if self._fitting is not None and schema.equals(self._fitting):
            return
        if schema.names != self._names:
            raise PageForeign(f"the columns are {_shown(schema.names)}, not {_shown(self._names)}")
        for field in schema:
            if not describes(self._features[field.name], field.type):
                raise PageForeign(
                    f"column {field.name!r} is stored as {str(field.type)[:100]},"
                    " which is not what its feature says"
                )
        self._fitting = schema

    def fitting(self, rows: list[Row]) -> int:
        """Return how many of the first rows, which came as JSON from elsewhere, have the columns.

        Without features any have.
        """
        names = self._names
        if not self._features or all(list(row) == names for row in rows):
            return len(rows)
        return next(at for at, row in enumerate(rows) if list(row) != names)

    def finished(self, rows: list[Row]) -> list[Row]:
        """Return rows that hold storage values as rows that hold what ``datasets`` gives.

        Raises:
            PageForeign: They hold other values than their features say.
        """
        if not self._special:
            return rows
        stored = {name: self._stored(name, [row[name] for row in rows]) for name in self._special}
        made = {name: self._decoder.decoded(name, array) for name, array in stored.items()}
        return [
            {name: made[name][at] if name in made else row[name] for name in self._names}
            for at, row in enumerate(rows)
        ]

    def _stored(self, name: str, values: list[Any]) -> pa.Array:
        try:
            array = pa.array(values, self._decoder.stored_as(name))
        except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError) as exc:
            raise PageForeign(
                f"Column {name!r} does not hold what its feature says: {exc}."
            ) from exc
        check_enclosed(name, self._features[name], array)
        return array

    @cached_property
    def _decoder(self) -> _Decoder:
        features = {name: self._features[name] for name in self._special}
        return _Decoder(features, self._image_pixels)


class BatchChunk:
    """Rows that stand in a record batch.

    Attributes:
        batch: The rows as columns of storage types.
    """

    def __init__(self, batch: pa.RecordBatch, maker: RowMaker) -> None:
        self.batch = batch
        self._maker = maker

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def rows(self) -> list[Row]:
        """Return the rows as Python values, equal to what ``datasets`` gives for them."""
        return self._maker.rows(self.batch)


class _Decoder:
    """The columns that ``datasets`` decodes."""

    def __init__(self, features: FeaturesJson, image_pixels: int) -> None:
        from datasets import Features
        from datasets.formatting import PythonFormatter

        self._features = features
        self._image_pixels = image_pixels
        try:
            known = Features.from_dict(features)
            self._types = {name: known.arrow_schema.field(name).type for name in features}
            self._formatters = {
                name: PythonFormatter(features=Features({name: known[name]})) for name in features
            }
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise UncarriableValue(
                f"Columns {sorted(features)} need a feature that this version of datasets "
                f"does not know: {str(exc)[:200]}.",
                hint="upgrade datasets, or leave the columns out",
            ) from exc

    def stored_as(self, name: str) -> pa.DataType:
        """Return the type that a column of the feature is stored as."""
        return storage_type(self._types[name])

    def decoded(self, name: str, array: pa.Array) -> list[Any]:
        """Return one value a row, each formatted by itself as iterating a dataset does.

        Raises:
            DatasetDamaged: A value cannot be decoded.
            AnswerTooLarge: An image has too many pixels.
        """
        formatter = self._formatters[name]
        try:
            if self._image_pixels:
                check_pixels(name, self._features[name], array, self._image_pixels)
            typed = self._typed(name, array)
            return [formatter.format_row(typed.slice(at, 1))[name] for at in range(len(array))]
        except (FdssError, ImportError, MemoryError, Warning):
            raise
        except Exception as exc:  # what decoders raise of a damaged file is theirs to choose
            raise DatasetDamaged(
                f"Column {name!r} holds a value that cannot be decoded: {str(exc)[:200]}"
            ) from exc

    def _typed(self, name: str, array: pa.Array) -> pa.Table:
        return pa.table({name: typed(array, self._types[name])})


def typed(array: pa.Array | pa.ChunkedArray, wanted: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Return stored values as the type that ``datasets`` has for their feature."""
    if array.type == wanted:
        return array
    if storage_type(wanted) == array.type:
        array = array.cast(wanted)
    if array.type == wanted:
        return array
    from datasets.table import table_cast

    return table_cast(pa.table({"": array}), pa.schema({"": wanted})).column(0)


def _shown(names: list[str]) -> str:
    return str(names) if len(names) <= 50 else f"{str(names[:50])[:-1]}, …] ({len(names):,})"


def flat_lists(array: pa.Array) -> tuple[pa.Array, list[int]] | None:
    """Return lists of numbers as one flat array and where each list begins, and the end.

    None for anything else, or when a list or a number is null.
    """
    type_ = array.type
    if pa.types.is_fixed_size_list(type_):
        bounds = None
    elif pa.types.is_list(type_) or pa.types.is_large_list(type_):
        bounds = array.offsets
    else:
        return None
    inner = type_.value_type
    is_number = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    if array.null_count or not (is_number or pa.types.is_boolean(inner)):
        return None
    flat = array.flatten()
    if flat.null_count:
        return None
    if bounds is None:
        return flat, [type_.list_size * at for at in range(len(array) + 1)]
    starts = bounds.to_numpy()
    return flat, (starts - starts[0]).tolist()


def _pylist(name: str, array: pa.Array) -> list[Any]:
    lists = flat_lists(array)
    if lists is not None and not pa.types.is_float16(lists[0].type):
        flat, bounds = lists
        values = flat.to_numpy(zero_copy_only=False).tolist()
        return [values[begin:end] for begin, end in pairwise(bounds)]
    try:
        return list(array.to_pylist())
    except (ValueError, OverflowError, LookupError, pa.ArrowException) as exc:
        raise UncarriableValue(
            f"Column {name!r} of type {array.type} holds a value Python cannot hold: {exc}."
        ) from exc
