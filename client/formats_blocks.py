"""Rows that stay columns: blocks, single rows of them, and batches cut across chunks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from fdss.backend import Chunk, FeaturesJson, Row
from fdss.errors import UncarriableValue, UnknownColumn, UnsupportedStep
from fdss.features import LIST_FEATURES, features_of, storage_type
from fdss.rows import BatchChunk, is_plain, typed

from .batches import batch_of

if TYPE_CHECKING:
    from datasets import Features

#: A table, or a list of rows.
Piece = Any


class Kinds:
    """What the columns of a block mean.

    Args:
        told: HF features as JSON, in the order of the columns.
    """

    def __init__(self, told: FeaturesJson) -> None:
        self.told = told
        self._renamed: dict[tuple[tuple[str, str], ...], Kinds] = {}

    @cached_property
    def features(self) -> Features:
        """Return them as ``datasets`` has them."""
        from datasets import Features

        return Features.from_dict(self.told)

    @cached_property
    def schema(self) -> pa.Schema:
        """Return the schema ``datasets`` gives such columns, its extension types in it."""
        return self.features.arrow_schema

    def renamed(self, names: Mapping[str, str]) -> Kinds:
        """Return what columns mean after a step; ``names`` gives the old name of every new one."""
        key = tuple(names.items())
        if key not in self._renamed:
            self._renamed[key] = Kinds({new: self.told[old] for new, old in key})
        return self._renamed[key]

    def gathered(self) -> Kinds:
        """Return what columns mean in which a row holds many."""
        return Kinds(lists_of(self.told))


def check_columns(present: Collection[str], wanted: Iterable[str]) -> None:
    """Refuse columns that a row or a table does not have.

    Raises:
        UnknownColumn: One is not there.
    """
    missing = [name for name in wanted if name not in present]
    if missing:
        raise UnknownColumn(f"A row has no column {missing[0]!r}; it has {sorted(present)}.")


def lists_of(told: FeaturesJson) -> FeaturesJson:
    """Return the features of rows that hold many rows each."""
    return {name: {"feature": feature, "_type": "List"} for name, feature in told.items()}


class Block:
    """Rows as columns.

    Attributes:
        table: The columns, of storage types, or as a function returned them.
        kinds: What they mean; None for what their types say.
    """

    def __init__(self, table: pa.Table, kinds: Kinds | None) -> None:
        self.table = table
        self.kinds = kinds

    @classmethod
    def of_table(cls, table: pa.Table, kinds: Kinds | None) -> Block:
        """Return a table that a step has made as a block, of the types of its features."""
        return cls(cls(table, kinds).typed(), kinds)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def slice(self, begin: int, rows: int) -> Block:
        """Return some of the rows; nothing is copied."""
        return Block(self.table.slice(begin, rows), self.kinds)

    def column(self, name: str) -> pa.Array:
        """Return a column in one piece."""
        chunks = self.table.column(name)
        if chunks.num_chunks == 1:
            return chunks.chunk(0)
        return chunks.combine_chunks()

    def renamed(self, names: Mapping[str, str]) -> Block:
        """Return other columns; ``names`` gives the old name of every new one."""
        check_columns(self.table.column_names, names.values())
        table = self.table.select(list(names.values())).rename_columns(list(names))
        return Block(table, None if self.kinds is None else self.kinds.renamed(names))

    def known(self) -> Kinds:
        """Return what the columns mean, if need be by their types alone."""
        return self.kinds or Kinds(features_of(self.table.schema.remove_metadata()))

    def typed(self) -> pa.Table:
        """Return the columns with the types that ``datasets`` has for them."""
        if self.kinds is None or self.table.schema.equals(self.kinds.schema, check_metadata=True):
            return self.table
        if not self.kinds.told:
            return _bare(len(self))
        schema, present = self.kinds.schema, set(self.table.column_names)
        columns = [
            typed(self.table.column(field.name), field.type)
            if field.name in present
            else pa.nulls(len(self), field.type)
            for field in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    def gathered(self) -> Block:
        """Return one row that holds all of them, a list a column."""
        if not self.table.num_columns:
            return Block(_bare(1), self.kinds)
        columns = [
            pa.ListArray.from_arrays(pa.array([0, len(self)], pa.int32()), self.column(name))
            for name in self.table.column_names
        ]
        table = pa.Table.from_arrays(columns, names=self.table.column_names)
        return Block(table, None if self.kinds is None else self.kinds.gathered())

    def rows(self) -> list[BlockRow]:
        """Return its rows, each of which knows its block."""
        return [BlockRow(self, at) for at in range(len(self))]


class BlockRow(NamedTuple):
    """One row of a block."""

    block: Block
    at: int

    def alone(self) -> Block:
        """Return a block of this row only."""
        return self.block.slice(self.at, 1)


def joined(rows: list[BlockRow]) -> Block:
    """Return rows of blocks as one block; neighbours are not copied."""
    pieces, begin = [], 0
    for end in range(1, len(rows) + 1):
        first = rows[begin]
        if (
            end == len(rows)
            or rows[end].block is not first.block
            or rows[end].at != first.at + end - begin
        ):
            pieces.append(first.block.table.slice(first.at, end - begin))
            begin = end
    try:
        return Block(_concatenated(pieces), rows[0].block.kinds)
    except pa.ArrowInvalid as exc:
        raise UncarriableValue(
            f"Tables that come one after the other do not fit together: {exc}.",
            hint="return columns of the same names and types for every batch",
        ) from exc


def block_of(chunk: Chunk, kinds: Kinds | None) -> Block | None:
    """Return a chunk's rows as columns; None when nothing tells the types of its values.

    Raises:
        UnsupportedStep: They came as JSON and hold media, whose bytes are not at hand any more.
    """
    if kinds is None or not kinds.told:
        return None
    names = list(kinds.told)
    if isinstance(chunk, BatchChunk):
        table = pa.Table.from_batches([chunk.batch])
        return Block(table if table.column_names == names else table.select(names), kinds)
    media = [name for name, feature in kinds.told.items() if _holds_media(feature)]
    if media:
        raise UnsupportedStep(
            f"Columns {media} hold media and came as JSON; only format 'python' gives those.",
            hint="let rows come as Arrow, or leave the columns out",
        )
    return Block(encoded(chunk.rows(), kinds), kinds)


def encoded(rows: list[Row], kinds: Kinds) -> pa.Table:
    """Return rows as columns of the storage types of their features."""
    columns = {name: [row.get(name) for row in rows] for name in kinds.told}
    stored = kinds.features.encode_batch(columns)
    try:
        return pa.table(
            {
                field.name: pa.array(stored[field.name], storage_type(field.type))
                for field in kinds.schema
            }
        )
    except (pa.ArrowException, TypeError, ValueError) as exc:
        raise UncarriableValue(f"Rows do not hold what their features say: {exc}.") from exc


def table_of(rows: list[Row]) -> pa.Table:
    """Return rows of no known types as columns, typed by their values."""
    from datasets.features.features import cast_to_python_objects

    columns = batch_of(rows)
    if not columns:
        return _bare(len(rows))
    return pa.table(cast_to_python_objects(columns, only_1d_for_numpy=True))


def rebatched(
    pieces: Iterable[Piece], rows: int | None, kinds: Kinds | None
) -> Iterator[Block | list[Row]]:
    """Yield batches of ``rows`` rows, the last one maybe shorter; None for one of all.

    Columns are cut and joined without looking at their values.
    """
    held: list[Piece] = []
    count = 0
    for piece in pieces:
        while rows is not None and count + len(piece) >= rows:
            fitting = rows - count
            yield _batch([*held, _part(piece, 0, fitting)], kinds)
            piece, held, count = _part(piece, fitting, len(piece) - fitting), [], 0
        if len(piece):
            held.append(piece)
            count += len(piece)
    if held:
        yield _batch(held, kinds)


def _part(piece: Piece, begin: int, rows: int) -> Piece:
    return piece[begin : begin + rows] if isinstance(piece, list) else piece.slice(begin, rows)


def _batch(pieces: list[Piece], kinds: Kinds | None) -> Block | list[Row]:
    if isinstance(pieces[0], list):
        return [row for piece in pieces for row in piece]
    return Block(_concatenated(pieces), kinds)


def _concatenated(tables: list[Any]) -> pa.Table:
    if len(tables) == 1:
        return tables[0]
    if not any(table.num_columns for table in tables):
        return _bare(sum(table.num_rows for table in tables))
    alike = all(table.column_names == tables[0].column_names for table in tables)
    # A column of nulls or of empty lists, whose type its values do not tell, takes that of others.
    return pa.concat_tables(tables, promote_options="default" if alike else "none")


def _bare(rows: int) -> pa.Table:
    """Return a table of rows without columns, which Arrow makes only of one that had some."""
    return pa.table({"": pa.nulls(rows)}).select([])


def _holds_media(feature: Any) -> bool:
    if is_plain(feature):
        return False
    if isinstance(feature, list):
        return any(map(_holds_media, feature))
    kind = feature.get("_type")
    if not isinstance(kind, str):
        return any(map(_holds_media, feature.values()))
    return _holds_media(feature["feature"]) if kind in LIST_FEATURES else "shape" not in feature
