"""Schemas as they are read: storage types only, whatever extension types are registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from fdss.nested import inner_fields, with_inner_fields
from fdss.rows import features_of

from .limits import MAX_DEPTH, MAX_FIELDS, MAX_METADATA_BYTES

_EXTENSION_KEYS = (b"ARROW:extension:name", b"ARROW:extension:metadata")


def read_schema(message: bytes) -> pa.Schema:
    """Return the schema of an Arrow message, after a look at all that is told in it.

    What it raises is one of ``contents.CONTENT_ERRORS``: there is no schema in it, a name is no
    text, or the HF features are not of the form that features have.
    """
    if len(message) > MAX_METADATA_BYTES + 8:
        raise ValueError("a schema of too many bytes")
    schema = pa.ipc.read_schema(pa.py_buffer(message))
    _check_size(schema)
    canonical_schema(storage_schema(schema))
    return schema


def _check_size(schema: pa.Schema) -> None:
    """Refuse a schema that has more fields, or more levels of them, than is sane."""
    level, fields, depth = list(schema.types), 0, 0
    while level:
        fields, depth = fields + len(level), depth + 1
        if fields > MAX_FIELDS or depth > MAX_DEPTH:
            raise ValueError(f"a schema of {fields:,} fields or more in {depth:,} levels")
        level = [inner.type for type_ in level for inner in inner_fields(_stored(type_))]


def _stored(type_: pa.DataType) -> pa.DataType:
    """Return what values of a type are stored as, or what a dictionary of it holds."""
    while isinstance(type_, pa.BaseExtensionType | pa.DictionaryType):
        is_dictionary = isinstance(type_, pa.DictionaryType)
        type_ = type_.value_type if is_dictionary else type_.storage_type
    return type_


def storage_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with extension types as they are stored and dictionaries as their values.

    The metadata of the schema, and so the HF features, stays. The result is the same whether or
    not ``datasets`` is imported, which registers types of its own.
    """
    return pa.schema([_storage_field(field) for field in schema], metadata=schema.metadata)


def has_dictionaries(type_: pa.DataType) -> bool:
    """Tell whether a type is dictionary-encoded, or holds one that is."""
    return _is_any(type_, pa.types.is_dictionary)


def has_views(type_: pa.DataType) -> bool:
    """Tell whether a type is a view of strings or bytes, or holds one: Arrow cannot take them."""
    kinds = (pa.types.is_string_view, pa.types.is_binary_view)
    return _is_any(type_, lambda inner: any(is_kind(inner) for is_kind in kinds))


def _is_any(type_: pa.DataType, wanted: Callable[[pa.DataType], bool]) -> bool:
    if isinstance(type_, pa.BaseExtensionType):
        return _is_any(type_.storage_type, wanted)
    return wanted(type_) or any(_is_any(inner.type, wanted) for inner in inner_fields(type_))


def decoded(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with its columns cast to the storage types of ``schema``."""
    arrays = []
    for column, field in zip(batch.columns, schema, strict=True):
        stored = column.storage if isinstance(column, pa.ExtensionArray) else column
        arrays.append(stored if stored.type == field.type else stored.cast(field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def canonical_schema(schema: pa.Schema) -> str:
    """Return JSON that is equal for schemas of equal columns and HF features.

    What differs without a difference in the rows is left out: names of list items, whether a
    field may be null, metadata other than the features, and the order of keys.
    """
    columns = [[field.name, _canonical_type(field.type)] for field in schema]
    whole = {"columns": columns, "features": features_of(schema)}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"))


def _storage_field(field: pa.Field) -> pa.Field:
    metadata = {
        key: value for key, value in (field.metadata or {}).items() if key not in _EXTENSION_KEYS
    }
    return pa.field(field.name, _storage_type(field.type), field.nullable, metadata or None)


def _storage_type(type_: pa.DataType) -> pa.DataType:
    if isinstance(type_, pa.BaseExtensionType):
        return _storage_type(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _storage_type(type_.value_type)
    inner = [_storage_field(field) for field in inner_fields(type_)]
    return with_inner_fields(type_, inner)


def _canonical_type(type_: pa.DataType) -> Any:
    if pa.types.is_struct(type_):
        return ["struct", [[field.name, _canonical_type(field.type)] for field in type_]]
    kind = str(type_).partition("<")[0]
    inner = [_canonical_type(field.type) for field in inner_fields(type_)]
    if pa.types.is_fixed_size_list(type_):
        return ["fixed_size_list", type_.list_size, inner]
    return [kind, inner] if inner else str(type_)
