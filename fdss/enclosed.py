"""Files of images, sounds and the like inside of rows: whether they are there, and how large.

A value that names a file instead of holding it would be opened by whoever decodes it. Storage puts
the files into the rows, so a row from a server that names one means a file of the reader's own
machine, or an address that it is to ask.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fdss.errors import AnswerTooLarge, PageForeign
from fdss.features import LIST_FEATURES

PLAIN_FEATURES = {"Value", "ClassLabel", "Translation", "TranslationVariableLanguages"}
IMAGE = "Image"

Leaf = tuple[str, pa.Array]


def is_plain(feature: Any) -> bool:
    """Tell whether the values of a feature are the Python values of its Arrow storage."""
    if isinstance(feature, list):
        return all(is_plain(inner) for inner in feature)
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return all(is_plain(inner) for inner in feature.values())
    if kind in LIST_FEATURES:
        return is_plain(feature["feature"])
    return kind in PLAIN_FEATURES or feature.get("decode") is False


def check_enclosed(column: str, feature: Any, array: pa.Array) -> None:
    """Refuse a column with a value that names a file and does not hold it.

    Args:
        array: The column, of storage types.

    Raises:
        PageForeign: It has one.
    """
    for _, leaf in _leaves(feature, array):
        if _names_files(leaf):
            raise PageForeign(f"column {column!r} names a file, and does not hold it")


def check_pixels(column: str, feature: Any, array: pa.Array, most_pixels: int) -> None:
    """Refuse a column with an image of more pixels, which its header tells.

    Raises:
        AnswerTooLarge: It has one.
    """
    import PIL.Image

    for kind, leaf in _leaves(feature, array):
        if kind != IMAGE or not pa.types.is_struct(leaf.type):
            continue
        for content in leaf.field("bytes").drop_null():
            with PIL.Image.open(io.BytesIO(content.as_buffer())) as image:
                pixels = image.width * image.height
            if pixels > most_pixels:
                raise AnswerTooLarge(
                    f"Column {column!r} holds an image of {pixels:,} pixels;"
                    f" {most_pixels:,} is the limit."
                )


def _names_files(leaf: pa.Array) -> bool:
    type_ = leaf.type
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return bool(leaf.null_count < len(leaf))
    if not pa.types.is_struct(type_) or type_.get_field_index("path") < 0:
        return False
    fields = dict(zip((field.name for field in type_), leaf.flatten(), strict=True))
    names = fields["path"].is_valid()
    if "bytes" in fields:
        names = pc.and_(names, fields["bytes"].is_null())
    return bool(pc.any(names).as_py())


def _leaves(feature: Any, array: pa.Array) -> Iterator[Leaf]:
    """Yield the kind and the values of what ``datasets`` decodes."""
    if is_plain(feature):
        return
    if isinstance(feature, list):
        yield from _leaves(feature[0], array.flatten())
        return
    kind = feature.get("_type")
    if kind in LIST_FEATURES and pa.types.is_struct(array.type):
        # A Sequence of a dict is a dict of lists.
        feature = {name: [inner] for name, inner in feature["feature"].items()}
        kind = None
    if kind in LIST_FEATURES:
        yield from _leaves(feature["feature"], array.flatten())
    elif isinstance(kind, str):
        # Numbers and JSON are decoded as well, from what is no file.
        if kind != "Json":
            yield kind, array
    else:
        for field, values in zip(array.type, array.flatten(), strict=True):
            yield from _leaves(feature[field.name], values)
