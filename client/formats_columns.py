"""Columns of numbers, lists of numbers and texts as numpy and torch values, by the column.

What comes out is what the formatters of ``datasets`` make of the same column, value for value:
integers become int64 and floating point numbers float32, but a single numpy number keeps its
type. Columns of anything else, or with a null in them, are left to those formatters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fdss.errors import UncarriableValue
from fdss.rows import flat_lists

Values = list[Any]


class Columns(ABC):
    """Makes values of whole columns; every method returns None for a column it leaves out."""

    def rows(self, column: pa.Array) -> Values | None:
        """Return a value for every row, as a row of its own holds it."""
        return self.singles(column)

    def singles(self, column: pa.Array) -> Values | None:
        """Return a value for every row, as the function of a step is given it."""
        if (texts := _texts(column)) is not None:
            return self._texts(texts)
        if (numbers := self._numbers(column)) is not None:
            return self._scalars(numbers)
        if (lists := self._lists(column)) is not None:
            return self._split(*lists)
        return None

    def batch(self, column: pa.Array) -> Any:
        """Return the column as a batch holds it."""
        if (numbers := self._numbers(column)) is not None:
            return self._whole(numbers)
        if (lists := self._lists(column)) is not None:
            return self._stacked(*lists)
        return None

    def given(self, column: pa.Array) -> Any:
        """Return the column as the function of a batched step is given it."""
        return self.batch(column)

    def _numbers(self, column: pa.Array) -> NDArray[Any] | None:
        type_ = column.type
        if column.null_count or not _is_number(type_) or not self._takes(type_):
            return None
        return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def _lists(self, column: pa.Array) -> tuple[NDArray[Any], list[int]] | None:
        lists = flat_lists(column)
        if lists is None or not self._takes(lists[0].type):
            return None
        return lists[0].to_numpy(zero_copy_only=False), lists[1]

    def _takes(self, type_: pa.DataType) -> bool:
        return True

    @abstractmethod
    def _texts(self, texts: list[str]) -> Values:
        """Return texts."""

    @abstractmethod
    def _scalars(self, numbers: NDArray[Any]) -> Values:
        """Return a number for every row."""

    @abstractmethod
    def _split(self, flat: NDArray[Any], bounds: list[int]) -> Values:
        """Return a view of one buffer for every list."""

    @abstractmethod
    def _whole(self, numbers: NDArray[Any]) -> Any:
        """Return all numbers at once."""

    @abstractmethod
    def _stacked(self, flat: NDArray[Any], bounds: list[int]) -> Any:
        """Return all lists at once."""


class NumpyColumns(Columns):
    """Columns as numpy values."""

    def rows(self, column: pa.Array) -> Values | None:
        """Return a value for every row; numbers keep their types, a truth is an array."""
        numbers = self._numbers(column)
        if numbers is None:
            return self.singles(column)
        if numbers.dtype.kind == "b":
            own = numbers.copy()
            return [own[at, ...] for at in range(len(own))]
        return list(numbers)

    def batch(self, column: pa.Array) -> Any:
        """Return the column as an array; lists of different lengths as one of arrays."""
        texts = _texts(column)
        return super().batch(column) if texts is None else np.asarray(texts)

    def given(self, column: pa.Array) -> Any:
        """Return the column as an array; texts as one of objects."""
        texts = _texts(column)
        return self.batch(column) if texts is None else _objects(self._texts(texts))

    def _texts(self, texts: list[str]) -> Values:
        # An array of texts, which theirs have been in, knows no NUL at the end of one.
        return [np.str_(text.rstrip("\0")) for text in texts]

    def _scalars(self, numbers: NDArray[Any]) -> Values:
        return list(_widened(numbers))

    def _split(self, flat: NDArray[Any], bounds: list[int]) -> Values:
        own = _widened(flat)
        return [own[begin:end] for begin, end in pairwise(bounds)]

    def _whole(self, numbers: NDArray[Any]) -> Any:
        return _widened(numbers)

    def _stacked(self, flat: NDArray[Any], bounds: list[int]) -> Any:
        if _is_even(bounds):
            return _widened(flat).reshape(len(bounds) - 1, bounds[1])
        return _objects(self._split(flat, bounds))


class TorchColumns(Columns):
    """Columns as tensors, all of a column views of one buffer."""

    def batch(self, column: pa.Array) -> Any:
        """Return the column as a tensor; lists of different lengths and texts as a list."""
        texts = _texts(column)
        return super().batch(column) if texts is None else self._texts(texts)

    def _takes(self, type_: pa.DataType) -> bool:
        return not pa.types.is_uint64(type_)

    def _texts(self, texts: list[str]) -> Values:
        return [text.rstrip("\0") for text in texts]

    def _scalars(self, numbers: NDArray[Any]) -> Values:
        return list(_tensor(numbers).unbind())

    def _split(self, flat: NDArray[Any], bounds: list[int]) -> Values:
        if _is_even(bounds):
            return list(self._stacked(flat, bounds).unbind())
        return list(_tensor(flat).split([end - begin for begin, end in pairwise(bounds)]))

    def _whole(self, numbers: NDArray[Any]) -> Any:
        return _tensor(numbers)

    def _stacked(self, flat: NDArray[Any], bounds: list[int]) -> Any:
        if _is_even(bounds):
            return _tensor(flat).reshape(len(bounds) - 1, bounds[1])
        return self._split(flat, bounds)


def _texts(column: pa.Array) -> list[str] | None:
    type_ = column.type
    if column.null_count or not (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
        return None
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError as exc:
        raise UncarriableValue(f"A column of text holds bytes that are no UTF-8: {exc}.") from exc


def _is_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_boolean(type_)
    )


def _is_even(bounds: list[int]) -> bool:
    return bounds == list(range(0, bounds[1] * len(bounds), bounds[1] or 1)) or not bounds[-1]


def _widened(numbers: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that may be written to, of the type that arrays of numbers have."""
    wanted = {"i": np.int64, "u": np.int64, "f": np.float32}.get(numbers.dtype.kind, np.bool_)
    with np.errstate(over="ignore"):
        return numbers.astype(wanted)


def _tensor(numbers: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(_widened(numbers))


def _objects(values: Values) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
