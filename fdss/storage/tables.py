"""A table: the record batches of some Arrow files, read one at a time by their number."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdss.errors import ContentChanged, DatasetDamaged

from .contents import damage_told
from .index import BatchIndex, index_path, load_index, save_index
from .messages import RECORD_BATCH, read_metadata
from .outlines import Outline, outline_of, shapes_of
from .ranges import FileRange, OpenFile
from .schemas import has_dictionaries, read_schema, storage_schema
from .stamps import Place, Stamp, stamps_of
from .walking import walked_index
from .whole_batches import WholeBatches, check_values

_LOG = logging.getLogger(__name__)
_MAX_OUTLINES = 65_536
_OUTLINES_BYTES = 8 << 20
_ENTRY_BYTES = 16


@dataclass(frozen=True)
class IndexOptions:
    """How indexes are kept and built.

    Attributes:
        folder: Where indexes are kept.
        rebuild: Whether to build anew what is there.
        progress: Whether to show progress on a terminal when building takes long.
        is_guarded: Whether what becomes of a file while it is read must not end this process.
        on_indexed: Called with the seconds that an index took, for each that had to be built.
    """

    folder: Path
    rebuild: bool = False
    progress: bool = False
    is_guarded: bool = True
    on_indexed: Callable[[float], None] | None = None


class Table:
    """The record batches of some files of one schema.

    A table holds no cursor and no open file. It can be pickled, and used after a fork and from
    several threads.
    """

    def __init__(self, index: BatchIndex, folder: Path, *, is_guarded: bool = True) -> None:
        with damage_told(f"The schema of {index.files[0].name!r} is damaged."):
            stored = read_schema(index.schema)
        self._index = index
        self._folder = folder
        self.is_guarded = is_guarded
        self._is_encoded = any(has_dictionaries(field.type) for field in stored)
        self.schema = storage_schema(stored)
        self.first_rows = index.first_rows
        is_plain = not (index.is_compressed or self._is_encoded)
        self.shapes = shapes_of(self.schema) if is_plain else None
        self._wholes = WholeBatches(
            index, self.schema, is_encoded=self._is_encoded, is_guarded=is_guarded
        )
        self._outlines: dict[int, Outline] = {}
        entries = 1 + (self.shapes.nodes + self.shapes.buffers if self.shapes else 0)
        self._most_outlines = min(_MAX_OUTLINES, _OUTLINES_BYTES // (entries * _ENTRY_BYTES) + 1)

    def __len__(self) -> int:
        return self._index.rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._index.files, self._folder, self.is_guarded)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint kept with the index; empty until it is known."""
        return self._index.fingerprint

    @property
    def files(self) -> tuple[Stamp, ...]:
        """Return the files, in the order of their rows."""
        return self._index.files

    @property
    def index_file(self) -> Path:
        """Return where the index is kept, if it could be kept."""
        return index_path(self._folder, self.files)

    @property
    def batch_count(self) -> int:
        """Return the number of record batches."""
        return len(self.first_rows) - 1

    @property
    def cut_files(self) -> list[str]:
        """Return the base names of the files that do not end as Arrow's own writers end them."""
        unended = np.flatnonzero(self._index.schemas[:, 2] == 0).tolist()
        return [self.files[file].name for file in unended]

    @property
    def row_bytes(self) -> float:
        """Return the average bytes of a row, as they lie on disk."""
        return self._index.data_bytes / max(1, len(self))

    @property
    def is_fresh(self) -> bool:
        """Tell whether all files are what they were."""
        return all(stamp.is_fresh for stamp in self.files)

    def batch(
        self, number: int, columns: Sequence[str] | None = None, *, is_checked: bool = True
    ) -> pa.RecordBatch:
        """Return one record batch, of storage types, read as a whole.

        Args:
            columns: Columns that are wanted, in this order; None for all.
            is_checked: Look those through, so that every value of them can be read.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        place = self.place(number)
        with OpenFile(place.stamp) as file:
            try:
                with damage_told(damaged(place)):
                    batch = self._wholes.read(place, file)
                    batch = batch if columns is None else batch.select(list(columns))
                    if is_checked:
                        check_values(batch)
            finally:
                file.check()
        return batch

    def outline(self, number: int, file: OpenFile) -> Outline:
        """Return where the values of a record batch lie in its file.

        Args:
            file: Its file.

        Raises:
            ContentChanged: The file was cut.
            DatasetDamaged: The batch cannot be read.
        """
        known = self._outlines.get(number)
        if known is not None:
            return known
        place = self.place(number)
        with damage_told(damaged(place)):
            if self.shapes is None:
                raise ValueError(place)
            end = place.offset + place.length
            metadata = read_metadata(file, place.offset, end)
            if metadata.kind != RECORD_BATCH or metadata.is_compressed:
                raise ValueError(place)
            body = range(place.offset + metadata.frame_bytes, end)
            outline = outline_of(metadata, body, self.shapes, place.rows)
        if len(self._outlines) >= self._most_outlines:
            self._outlines.pop(next(iter(self._outlines), -1), None)
        self._outlines[number] = outline
        return outline

    def place(self, number: int) -> Place:
        """Return where the message of a record batch lies."""
        file, offset, length = self._index.places[number].tolist()
        rows = int(self.first_rows[number + 1] - self.first_rows[number])
        return Place(self.files[file], offset, length, rows, number)

    def joined_messages(self, number: int, after: int) -> FileRange | None:
        """Return where the messages of record batches from ``number`` to ``after`` stand.

        Returns:
            None unless they follow one another in one file, and are of the schema that is served.

        Raises:
            ContentChanged: Their file is not the file that was opened.
        """
        file, offset, _ = (int(part) for part in self._index.places[number])
        last_file, last_offset, length = (int(part) for part in self._index.places[after - 1])
        lengths = self._index.places[number:after, 2]
        if self._is_encoded or file != last_file or offset + lengths.sum() != last_offset + length:
            return None
        stamp = self.files[file]
        if not stamp.is_fresh:
            raise ContentChanged(f"File {stamp.name!r} changed after the dataset was opened.")
        return FileRange(stamp, offset, last_offset + length - offset)

    def checked(self) -> Table:
        """Return the table, after a look at the schema of every file.

        Raises:
            DatasetDamaged: Files have different columns.
        """
        for file, (offset, length) in enumerate(self._index.schemas[:, :2].tolist()):
            if file == 0:
                continue
            with open(self.files[file].path, "rb") as opened:
                opened.seek(offset)
                encoded = opened.read(length)
            if encoded == self._index.schema:
                continue
            with damage_told(f"The schema of {self.files[file].name!r} is damaged."):
                schema = read_schema(encoded)
            if not storage_schema(schema).equals(self.schema):
                raise DatasetDamaged(
                    f"Files {self.files[0].name!r} and {self.files[file].name!r} have different "
                    "columns."
                )
            if any(has_dictionaries(field.type) for field in schema) != self._is_encoded:
                raise DatasetDamaged(
                    f"Of files {self.files[0].name!r} and {self.files[file].name!r} only one has "
                    "dictionary-encoded columns."
                )
        return self

    def with_fingerprint(self, fingerprint: str) -> Table:
        """Return the table with its fingerprint known."""
        index = replace(self._index, fingerprint=fingerprint)
        return Table(index, self._folder, is_guarded=self.is_guarded)

    def save(self) -> None:
        """Keep the index on disk; where that cannot be done, the next opening builds it again."""
        try:
            save_index(self.index_file, self._index)
        except OSError as exc:
            # On Windows an index cannot be replaced while somebody has it mapped: then it is good.
            _LOG.warning("cannot keep the index of %s: %s", self.files[0].name, exc)


def open_table(
    paths: Sequence[Path], options: IndexOptions, fingerprint: Callable[[Table], str]
) -> Table:
    """Return the table of some Arrow files, through the index on disk or a new one.

    Args:
        paths: Arrow streams or Arrow files, in the order of their rows, 1 or more.
        fingerprint: Makes the fingerprint that is kept with a new index.

    Raises:
        DatasetNotFound: A file is not there.
        DatasetDamaged: A file is no Arrow file, or is cut.
        ContentChanged: A file changed while it was walked.
    """
    stamps = stamps_of(paths)
    kept = None if options.rebuild else load_index(index_path(options.folder, stamps), stamps)
    if kept is not None and kept.fingerprint:
        return Table(kept, options.folder, is_guarded=options.is_guarded)
    begun_s = time.perf_counter()
    index = walked_index(stamps, options.progress)
    table = Table(index, options.folder, is_guarded=options.is_guarded).checked()
    table = table.with_fingerprint(fingerprint(table))
    if not table.is_fresh:
        raise ContentChanged("Files of the dataset changed while it was indexed.")
    table.save()
    if options.on_indexed is not None:
        options.on_indexed(time.perf_counter() - begun_s)
    return table


def damaged(place: Place) -> str:
    """Return what is told of a record batch that cannot be read."""
    return f"Record batch {place.number:,} of {place.stamp.name!r} is damaged."


def _reopened(files: tuple[Stamp, ...], folder: Path, is_guarded: bool) -> Table:
    """Return the table of a pickle: of the same files, or of none."""
    kept = load_index(index_path(folder, files), files)
    if kept is not None:
        return Table(kept, folder, is_guarded=is_guarded)
    for stamp in files:
        if not stamp.is_fresh:
            raise ContentChanged(f"File {stamp.name!r} changed after the dataset was opened.")
    return Table(walked_index(files, progress=False), folder, is_guarded=is_guarded)
