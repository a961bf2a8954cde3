"""What Arrow types mean to ``datasets``: features, and the types they are stored as."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from fdss.backend import FeaturesJson

LIST_FEATURES = {"List", "LargeList", "Sequence"}


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


def describes(feature: Any, type_: pa.DataType) -> bool:
    """Tell whether a sound feature is one that ``features_of`` gives for columns of a type."""
    return _fits(feature, type_) or bool(feature == _feature(type_))


def check_feature(feature: Any, most_levels: int) -> None:
    """Refuse what is no feature.

    A kind that is not known here is left to ``datasets``.

    Args:
        most_levels: How many lists and structs may lie in one another.

    Raises:
        ValueError: It is none, or a deeper one.
    """
    if most_levels < 0:
        raise ValueError("it has too many levels")
    kind = feature.get("_type") if isinstance(feature, dict) else None
    if isinstance(feature, list) and len(feature) == 1:
        check_feature(feature[0], most_levels - 1)
    elif not isinstance(feature, dict):
        raise ValueError(f"{str(feature)[:40]!r} is none")
    elif not isinstance(kind, str):
        for inner in feature.values():
            check_feature(inner, most_levels - 1)
    elif kind in LIST_FEATURES:
        if type(feature.get("length", -1)) is not int:
            raise ValueError("the length of a list is no number")
        check_feature(feature.get("feature"), most_levels - 1)
    elif kind == "Value" and not isinstance(feature.get("dtype"), str):
        raise ValueError("a value has no type")


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
    if kind in LIST_FEATURES:
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
