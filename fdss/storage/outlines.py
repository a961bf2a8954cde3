"""What the metadata of a record batch tells: how many values there are, and where they lie.

All of it is checked before it is used: every buffer lies within the batch, and they are together
no larger than it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .messages import Metadata

Numbers = NDArray[np.int64]

_ENTRY_BYTES = 16
_LIST_TYPES = (pa.ListType, pa.LargeListType, pa.MapType)
_FIXED = (pa.types.is_primitive, pa.types.is_decimal, pa.types.is_fixed_size_binary)
#: What a value of these types takes to say where it ends.
OFFSET_BYTES = {
    pa.string(): 4,
    pa.binary(): 4,
    pa.large_string(): 8,
    pa.large_binary(): 8,
}


@dataclass(frozen=True)
class Shape:
    """A field, and which entries of an outline are its own.

    Attributes:
        type: Type of its values.
        node: Number of its entry among the nodes.
        buffer: Number of the first of its buffers, which tells the nulls.
        inner: What it consists of.
    """

    type: pa.DataType
    node: int
    buffer: int
    inner: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Shapes:
    """The columns of a schema, and how many nodes and buffers they have in an outline."""

    columns: tuple[Shape, ...]
    nodes: int
    buffers: int


@dataclass(frozen=True)
class Outline:
    """Where the values of a record batch lie.

    Attributes:
        nodes: int64, for each field, also inner ones, the number of values and of nulls.
        buffers: int64, for each buffer its first byte in the file, and its size.
    """

    nodes: Numbers
    buffers: Numbers


def shapes_of(schema: pa.Schema) -> Shapes | None:
    """Return the shapes of the columns of a schema; None if it has a type laid out otherwise."""
    nodes, buffers = count(), count()
    try:
        columns = tuple(_shape(type_, nodes, buffers) for type_ in schema.types)
    except NotImplementedError:
        return None
    return Shapes(columns, next(nodes), next(buffers))


def outline_of(metadata: Metadata, body: range, shapes: Shapes, rows: int) -> Outline:
    """Return what the metadata of a record batch message tells.

    Args:
        body: The bytes of the file that the values lie in.
        rows: Rows that the batch is known to have.

    Raises:
        ValueError: It cannot be so.
    """
    nodes = _vector(metadata, 1)
    buffers = _vector(metadata, 2)
    if len(nodes) != shapes.nodes or len(buffers) != shapes.buffers:
        raise ValueError("the record batch has other columns than the schema")
    tops = [shape.node for shape in shapes.columns]
    sizes = buffers[:, 1]
    if (
        (nodes < 0).any()
        or (nodes[:, 1] > nodes[:, 0]).any()
        or (nodes[tops, 0] != rows).any()
        or (buffers < 0).any()
        or (buffers[:, 0] > len(body) - np.minimum(sizes, len(body))).any()
        or (sizes > len(body)).any()
        or sum(sizes.tolist()) > len(body)
    ):
        raise ValueError("the record batch has values outside of itself")
    buffers[:, 0] += body.start
    return Outline(nodes, buffers)


def _vector(metadata: Metadata, number: int) -> Numbers:
    """Return a vector of pairs that the header of a message holds, as rows of two."""
    at, length = metadata.vector(number)
    pairs = np.frombuffer(metadata.content, "<i8", 2 * length, at)
    return pairs.reshape(-1, 2).astype(np.int64)


def _shape(type_: Any, nodes: Iterator[int], buffers: Iterator[int]) -> Shape:
    node = next(nodes)
    if pa.types.is_null(type_):
        return Shape(type_, node, 0)
    own = _own_buffers(type_)
    first = next(buffers)
    for _ in range(own - 1):
        next(buffers)
    inner = [type_.field(at).type for at in range(type_.num_fields)]
    return Shape(type_, node, first, tuple(_shape(part, nodes, buffers) for part in inner))


def _own_buffers(type_: Any) -> int:
    if pa.types.is_struct(type_) or pa.types.is_fixed_size_list(type_):
        return 1
    if isinstance(type_, _LIST_TYPES):
        return 2
    if type_ in OFFSET_BYTES:
        return 3
    if is_fixed(type_):
        return 2
    raise NotImplementedError(str(type_))


def is_fixed(type_: pa.DataType) -> bool:
    """Tell whether every value of a type takes as many bits."""
    kinds: tuple[Callable[[pa.DataType], bool], ...] = _FIXED
    return any(is_kind(type_) for is_kind in kinds)


def is_list(type_: pa.DataType) -> bool:
    """Tell whether a type is a list whose values say where they end."""
    return isinstance(type_, _LIST_TYPES)
