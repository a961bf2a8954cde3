"""Media files, carried within the rows that name them.

A row of an image, audio, video or similar column is stored as ``{bytes, path}``. Caches that
``datasets`` makes of folders of files hold the path alone, an absolute one of this machine. Before
a row leaves storage its file is read into ``bytes`` and the path becomes a base name, as
``Dataset.save_to_disk`` writes it. Rows that need nothing of that are not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fdss.backend import FilePart
from fdss.errors import DatasetDamaged, Forbidden, UncarriableValue
from fdss.rows import features_of

from .media_tree import Fields, Items, Tree, items, rebuilt, tree_of, values, with_fields
from .roots import MediaRoots

MAX_ROW_BYTES = (1 << 31) - 1

_EMBEDDED_BYTES = 1 << 20
_ABSOLUTE = r"^(?:[/\\]|[A-Za-z]:[/\\]|(?i:file):)|::(?:[/\\]|[A-Za-z]:[/\\])"
_SHOWN_NAME = 80


class _Missing(NamedTuple):
    """A file that a row names and does not hold."""

    row: int
    column: str
    path: str


@dataclass(frozen=True)
class _Leaf:
    """All values of one media feature in a batch.

    Attributes:
        column: Column it stands in.
        array: The values, structs of bytes and path.
        rows: int64, the row of each value.
        is_live: Whether each value is seen; not below a null.
    """

    column: str
    array: pa.StructArray
    rows: NDArray[np.int64]
    is_live: NDArray[np.bool_]

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Return which values have a path and no bytes."""
        content, path = self.array.field("bytes"), self.array.field("path")
        missing = pc.and_(content.is_null(), path.is_valid()).to_numpy(zero_copy_only=False)
        return np.asarray(missing & self.is_live)

    def missing(self) -> list[_Missing]:
        """Return the files that its values name and do not hold."""
        places = np.flatnonzero(self.is_missing)
        paths = self.array.field("path").take(pa.array(places)).to_pylist()
        rows = self.rows[places].tolist()
        return [_Missing(row, self.column, path) for row, path in zip(rows, paths, strict=True)]


class MediaEmbedder:
    """Fills media files into record batches. It holds no file, and can be pickled."""

    def __init__(self, schema: pa.Schema, roots: MediaRoots) -> None:
        """Look for media columns.

        Args:
            schema: Schema of the stored batches, HF features in its metadata.
            roots: Where files may be read.
        """
        features = features_of(schema) if any(map(_is_nested, schema.types)) else {}
        trees = {name: tree_of(features[name], schema.field(name).type) for name in features}
        self._trees = {name: found for name, found in trees.items() if found is not None}
        self._roots = roots

    def __bool__(self) -> bool:
        """Tell whether there are media columns at all."""
        return bool(self._trees)

    def is_needed(self, batch: pa.RecordBatch) -> bool:
        """Tell whether a value of a batch lacks its file, or has an absolute path."""
        return any(
            name in self._trees and _is_needed(batch.column(at), self._trees[name])
            for at, name in enumerate(batch.schema.names)
        )

    def embedded(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some batches, files in them, about a mebibyte of files or one row.

        Raises:
            Forbidden: A row names a file outside of the roots, or one that is not here.
            DatasetDamaged: A file is missing or cannot be read.
            UncarriableValue: The files of a row are too large for Arrow.
        """
        for batch in batches:
            if not self.is_needed(batch):
                yield batch
                continue
            for rows in self._parts(batch):
                yield self._filled(batch.slice(rows.start, len(rows)))

    def filled(
        self, pieces: Iterator[FilePart | pa.RecordBatch]
    ) -> Iterator[FilePart | pa.RecordBatch]:
        """Yield parts of files as they are, and record batches as ``embedded`` does."""
        for piece in pieces:
            if isinstance(piece, pa.RecordBatch):
                yield from self.embedded(iter([piece]))
            else:
                yield piece

    def _parts(self, batch: pa.RecordBatch) -> Iterator[range]:
        """Yield the rows of a batch in parts; a file is looked at when its part is due."""
        missing = [file for leaf in self._leaves(batch) for file in leaf.missing()]
        missing.sort(key=attrgetter("row"))
        begin = total = 0
        for row, files in groupby(missing, attrgetter("row")):
            size = sum(self._size_bytes(file) for file in files)
            if size > MAX_ROW_BYTES:
                raise UncarriableValue(f"The media files of a row have {size:,} bytes together.")
            if row > begin and total + size > _EMBEDDED_BYTES:
                yield range(begin, row)
                begin, total = row, 0
            total += size
        yield range(begin, batch.num_rows)

    def _filled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        filled = iter([self._filled_leaf(leaf) for leaf in self._leaves(batch)])
        columns = [
            rebuilt(column, self._trees[name], filled) if name in self._trees else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def _filled_leaf(self, leaf: _Leaf) -> pa.StructArray:
        content, path = leaf.array.field("bytes"), leaf.array.field("path")
        read = [self._content(file) for file in leaf.missing()]
        if read:
            files = pa.array(read, content.type)
            content = pc.replace_with_mask(content, pa.array(leaf.is_missing), files)
        return with_fields(leaf.array, {"bytes": content, "path": _shortened(path)})

    def _leaves(self, batch: pa.RecordBatch) -> Iterator[_Leaf]:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in self._trees:
                rows = np.arange(len(column), dtype=np.int64)
                is_live = np.ones(len(column), np.bool_)
                for array, its_rows, live in values(column, self._trees[name], rows, is_live):
                    yield _Leaf(name, array, its_rows, live)

    def _size_bytes(self, file: _Missing) -> int:
        place = self._place(file)
        try:
            return self._roots.size_bytes(place)
        except OSError as exc:
            raise _unreadable(file) from exc

    def _content(self, file: _Missing) -> bytes:
        place = self._place(file)
        try:
            return self._roots.read(place)
        except OSError as exc:
            raise _unreadable(file) from exc

    def _place(self, file: _Missing) -> str:
        place = self._roots.place(file.path)
        if place is None:
            raise Forbidden(
                f"Column {file.column!r} names file {_base_name(file.path)!r}, which is not "
                "among the files of the dataset.",
                hint="load it with datasets, where those files are, and serve what "
                "Dataset.save_to_disk writes: it holds them",
            )
        return place


def _unreadable(file: _Missing) -> DatasetDamaged:
    return DatasetDamaged(
        f"File {_base_name(file.path)!r}, which column {file.column!r} names, is missing or "
        "cannot be read."
    )


def _is_nested(type_: pa.DataType) -> bool:
    return bool(pa.types.is_nested(type_))


def _is_needed(array: pa.Array, tree: Tree) -> bool:
    """Tell whether a value may lack its file or have an absolute path; no bytes are read."""
    if not len(array):
        return False
    if isinstance(tree, Items):
        return _is_needed(items(array), tree.inner)
    if isinstance(tree, Fields):
        return any(_is_needed(array.field(name), inner) for name, inner in tree.inner.items())
    content, path = array.field("bytes"), array.field("path")
    if path.null_count == len(path):
        return False
    if content.null_count and pc.any(pc.and_(content.is_null(), path.is_valid())).as_py():
        return True
    return bool(pc.any(pc.match_substring_regex(path, _ABSOLUTE)).as_py())


def _shortened(paths: pa.Array) -> pa.Array:
    """Return paths with the base name of those that are absolute."""
    first = pc.replace_substring_regex(paths, r"(?s)::.*$", "")
    names = pc.replace_substring_regex(first, r"(?s)^.*[/\\]", "")
    return pc.if_else(pc.match_substring_regex(paths, _ABSOLUTE), names, paths)


def _base_name(path: str) -> str:
    """Return what a message may tell of a path or URL."""
    first = path.partition("::")[0].partition("?")[0]
    return first.replace("\\", "/").rpartition("/")[2][:_SHOWN_NAME]
