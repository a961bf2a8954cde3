"""Rows as ``datasets`` gives them, from record batches of storage types.

Most columns need nothing but Arrow: their values are made a column at a time, and ``datasets``
is not imported. Columns whose feature makes other objects (Image, Audio, Video, Array2D to
Array5D, Json, and whatever a later version brings) go through ``datasets`` itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson, Row
from fdss.errors import PageForeign, UncarriableValue

_PLAIN_FEATURES = {"Value", "ClassLabel", "Translation", "TranslationVariableLanguages"}
_LIST_FEATURES = {"List", "LargeList", "Sequence"}


class RowMaker:
    """Makes the rows of one dataset.

    Args:
        features: HF features as JSON, a name to a feature, in stored order.
        columns: Columns of the rows, in this order; None for all.
    """

    def __init__(self, features: FeaturesJson, columns: Iterable[str] | None = None) -> None:
        self._names = list(features if columns is None else columns)
        self._features = {name: features[name] for name in self._names}
        self._special = [name for name in self._names if not is_plain(features[name])]

    def rows(self, batch: pa.RecordBatch) -> list[Row]:
        """Return the rows of a batch, equal to iterating a ``datasets.Dataset`` of it.

        Raises:
            UncarriableValue: A column holds a value that Python has no type for.
        """
        plain = batch if batch.schema.names == self._names else batch.select(self._names)
        if not self._special:
            return _pylist(plain)
        rows = _pylist(batch.select([name for name in self._names if name not in self._special]))
        return self._merged(rows, {name: batch.column(name) for name in self._special})

    def checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch that came from elsewhere, if it has the columns of the rows.

        Raises:
            PageForeign: It has others, or is damaged.
        """
        if batch.schema.names != self._names:
            raise PageForeign(f"the columns are {batch.schema.names}, not {self._names}")
        try:
            batch.validate()
        except pa.ArrowInvalid as exc:
            raise PageForeign(f"the record batch is damaged: {exc}") from exc
        return batch

    def finished(self, rows: list[Row]) -> list[Row]:
        """Return rows that hold storage values as rows that hold what ``datasets`` gives."""
        if not self._special:
            return rows
        stored = {
            name: pa.array([row[name] for row in rows], self._decoder.stored_as(name))
            for name in self._special
        }
        return self._merged(rows, stored)

    def _merged(self, rows: list[Row], special: dict[str, pa.Array]) -> list[Row]:
        """Return the rows with the special columns decoded and every column in its place."""
        made = {name: self._decoder.decoded(name, array) for name, array in special.items()}
        return [
            {name: made[name][at] if name in made else row[name] for name in self._names}
            for at, row in enumerate(rows)
        ]

    @cached_property
    def _decoder(self) -> _Decoder:
        return _Decoder({name: self._features[name] for name in self._special})


class BatchChunk:
    """Rows that stand in a record batch."""

    def __init__(self, batch: pa.RecordBatch, maker: RowMaker) -> None:
        self._batch = batch
        self._maker = maker

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def rows(self) -> list[Row]:
        """Return the rows as Python values, equal to what ``datasets`` gives for them."""
        return self._maker.rows(self._batch)


def is_plain(feature: Any) -> bool:
    """Tell whether the values of a feature are the Python values of its Arrow storage."""
    if isinstance(feature, list):
        return all(is_plain(inner) for inner in feature)
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return all(is_plain(inner) for inner in feature.values())
    if kind in _LIST_FEATURES:
        return is_plain(feature["feature"])
    return kind in _PLAIN_FEATURES or feature.get("decode") is False


class _Decoder:
    """The columns that ``datasets`` decodes."""

    def __init__(self, features: FeaturesJson) -> None:
        from datasets import Features
        from datasets.formatting import PythonFormatter

        try:
            known = Features.from_dict(features)
        except (ValueError, TypeError) as exc:
            raise UncarriableValue(
                f"Columns {sorted(features)} need a feature that this version of datasets "
                f"does not know: {exc}.",
                hint="upgrade datasets, or leave the columns out",
            ) from exc
        self._types = {name: known.arrow_schema.field(name).type for name in features}
        self._formatters = {
            name: PythonFormatter(features=Features({name: known[name]})) for name in features
        }

    def stored_as(self, name: str) -> pa.DataType:
        """Return the type that a column of the feature is stored as."""
        return storage_type(self._types[name])

    def decoded(self, name: str, array: pa.Array) -> list[Any]:
        """Return one value a row, each formatted by itself as iterating a dataset does."""
        typed = self._typed(name, array)
        formatter = self._formatters[name]
        return [formatter.format_row(typed.slice(at, 1))[name] for at in range(len(array))]

    def _typed(self, name: str, array: pa.Array) -> pa.Table:
        wanted = self._types[name]
        if array.type != wanted and storage_type(wanted) == array.type:
            array = array.cast(wanted)
        table = pa.table({name: array})
        if array.type == wanted:
            return table
        from datasets.table import table_cast

        return table_cast(table, pa.schema({name: wanted}))


def _pylist(batch: pa.RecordBatch) -> list[Row]:
    if not batch.num_columns:
        return [{} for _ in range(batch.num_rows)]
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError, pa.ArrowException) as exc:
        raise UncarriableValue(f"{_unreadable(batch)}: {exc}.") from exc


def _unreadable(batch: pa.RecordBatch) -> str:
    for field, array in zip(batch.schema, batch.columns, strict=True):
        try:
            array.to_pylist()
        except (ValueError, OverflowError, pa.ArrowException):
            return f"Column {field.name!r} of type {field.type} holds a value Python cannot hold"
    return "Rows cannot be read"


def storage_type(type_: pa.DataType) -> pa.DataType:
    """Return a type with every extension type in it replaced by what it is stored as."""
    if isinstance(type_, pa.BaseExtensionType):
        return storage_type(type_.storage_type)
    if pa.types.is_struct(type_):
        return pa.struct([(field.name, storage_type(field.type)) for field in type_])
    if pa.types.is_fixed_size_list(type_):
        return pa.list_(storage_type(type_.value_type), type_.list_size)
    if pa.types.is_large_list(type_):
        return pa.large_list(storage_type(type_.value_type))
    if pa.types.is_list(type_):
        return pa.list_(storage_type(type_.value_type))
    return type_


def features_of(schema: pa.Schema) -> FeaturesJson:
    """Return the HF features of a schema, as ``datasets.Features.from_arrow_schema`` finds them.

    A feature in the schema's metadata counts where it fits the column's type; other columns get
    the feature that their type stands for.
    """
    told = _told_features(schema.metadata or {})
    return {
        field.name: told[field.name]
        if field.name in told and _fits(told[field.name], field.type)
        else _feature(field.type)
        for field in schema
    }


def _told_features(metadata: dict[bytes, bytes]) -> FeaturesJson:
    information = json.loads(metadata.get(b"huggingface", b"{}"))
    return dict((information.get("info") or {}).get("features") or {})


def _fits(feature: Any, type_: pa.DataType) -> bool:
    """Tell whether a feature describes columns of a type."""
    if isinstance(feature, list):
        return _fits({"_type": "List", "feature": feature[0]}, type_)
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return _fits_struct(feature, type_)
    if kind == "Value":
        return not pa.types.is_nested(type_) and bool(feature["dtype"] == _dtype(type_))
    if kind == "ClassLabel":
        return bool(pa.types.is_int64(type_))
    if kind in _LIST_FEATURES:
        return _fits_list(feature, type_)
    return True


def _fits_struct(fields: FeaturesJson, type_: pa.DataType) -> bool:
    if not pa.types.is_struct(type_) or [field.name for field in type_] != list(fields):
        return False
    return all(_fits(fields[field.name], field.type) for field in type_)


def _fits_list(feature: FeaturesJson, type_: pa.DataType) -> bool:
    inner = feature["feature"]
    if feature["_type"] == "Sequence" and pa.types.is_struct(type_):
        # A Sequence of a dict is a dict of lists.
        return isinstance(inner, dict) and _fits_struct(
            {name: {**feature, "_type": "List", "feature": inner[name]} for name in inner}, type_
        )
    return _is_list_of(feature, type_) and _fits(inner, type_.value_type)


def _is_list_of(feature: FeaturesJson, type_: pa.DataType) -> bool:
    length = feature.get("length", -1)
    if feature["_type"] == "LargeList":
        return bool(pa.types.is_large_list(type_))
    if length == -1:
        return bool(pa.types.is_list(type_))
    return bool(pa.types.is_fixed_size_list(type_) and type_.list_size == length)


def _feature(type_: pa.DataType) -> Any:
    """Return the feature that ``datasets`` makes of an Arrow type."""
    if isinstance(type_, pa.BaseExtensionType):
        return _feature(type_.storage_type)
    if pa.types.is_struct(type_):
        return {field.name: _feature(field.type) for field in type_}
    if pa.types.is_map(type_):
        return _list_feature({"key": _feature(type_.key_type), "value": _feature(type_.item_type)})
    if pa.types.is_fixed_size_list(type_):
        return {**_list_feature(_feature(type_.value_type)), "length": type_.list_size}
    if pa.types.is_large_list(type_):
        return {"feature": _feature(type_.value_type), "_type": "LargeList"}
    if pa.types.is_list(type_):
        return _list_feature(_feature(type_.value_type))
    return {"dtype": _dtype(type_), "_type": "Value"}


def _list_feature(feature: Any) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def _dtype(type_: pa.DataType) -> str:
    """Return the name ``datasets`` has for a type without children."""
    if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        return _dtype(type_.value_type)
    text = str(type_)
    return _DTYPES.get(text, text)


_DTYPES = {
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}
