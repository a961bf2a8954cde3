"""A table: the record batches of some Arrow files, read one at a time by their number."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fdss.errors import ContentChanged, DatasetDamaged

from .contents import damage_told
from .index import BatchIndex, index_path, load_index, save_index
from .schemas import decoded, has_dictionaries, read_schema, storage_schema
from .soundness import SoundColumns
from .stamps import Place, Stamp, stamps_of
from .walking import walked_index

_LOG = logging.getLogger(__name__)
_MAX_MAPS = 256


@dataclass(frozen=True)
class IndexOptions:
    """How indexes are kept and built.

    Attributes:
        folder: Where indexes are kept.
        rebuild: Whether to build anew what is there.
        progress: Whether to show progress on a terminal when building takes long.
    """

    folder: Path
    rebuild: bool = False
    progress: bool = False


class Table:
    """The record batches of some files of one schema.

    A table holds no cursor and no open file. It can be pickled, and used after a fork and from
    several threads.
    """

    def __init__(self, index: BatchIndex, folder: Path) -> None:
        with damage_told(f"The schema of {index.files[0].name!r} is damaged."):
            stored = read_schema(index.schema)
        self._index = index
        self._folder = folder
        self._is_encoded = any(has_dictionaries(field.type) for field in stored)
        self._mapped = functools.lru_cache(_MAX_MAPS)(_mapped)
        self.schema = storage_schema(stored)
        self._sound = SoundColumns(len(index.places), len(stored))
        self.first_rows = index.first_rows

    def __len__(self) -> int:
        return self._index.rows

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._index.files, self._folder)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint kept with the index; empty until it is known."""
        return self._index.fingerprint

    @property
    def files(self) -> tuple[Stamp, ...]:
        """Return the files, in the order of their rows."""
        return self._index.files

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
    def is_zero_copy(self) -> bool:
        """Tell whether a batch that was read is a view of its file, and costs no memory."""
        return not (self._index.is_compressed or self._is_encoded)

    @property
    def is_fresh(self) -> bool:
        """Tell whether all files are what they were."""
        return all(stamp.is_fresh for stamp in self.files)

    def batch(self, number: int, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Return one record batch, of storage types, every value of which can be read.

        Each column is looked through once, the first time that it is asked for.

        Args:
            columns: Columns to read, in this order; None for all.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        name = self._file_of(number).name
        with damage_told(f"Record batch {number:,} of {name!r} is damaged."):
            batch = self._read(number)
            self._sound.check(number, batch, columns)
            return batch if columns is None else batch.select(list(columns))

    def place(self, number: int) -> Place:
        """Return where the message of a record batch lies.

        Raises:
            ContentChanged: Its file is not the file that was opened.
        """
        file, offset, length = self._index.places[number].tolist()
        rows = int(self.first_rows[number + 1] - self.first_rows[number])
        return Place(self._checked(file), offset, length, rows)

    def content(self, stamp: Stamp) -> pa.Buffer:
        """Return all of a file, as it is in memory."""
        return self._mapped(stamp)

    def row(self, number: int, offset: int) -> pa.RecordBatch:
        """Return one row of a record batch; values of other rows are not looked at.

        Raises:
            ContentChanged: Its file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        name = self._file_of(number).name
        with damage_told(f"Record batch {number:,} of {name!r} is damaged."):
            row = self._read(number).slice(offset, 1)
            row.validate(full=True)
            return row

    def _file_of(self, number: int) -> Stamp:
        return self._index.files[int(self._index.places[number, 0])]

    def _read(self, number: int) -> pa.RecordBatch:
        """Return one record batch, of which only the outline was looked at."""
        file, offset, length = (int(part) for part in self._index.places[number])
        stamp = self._checked(file)
        content = self._mapped(stamp)
        if self._is_encoded:
            batch = self._read_encoded(content, file, offset, length)
        else:
            message = pa.ipc.read_message(content.slice(offset, length))
            batch = pa.ipc.read_record_batch(message, self.schema)
        batch.validate()
        if batch.num_rows != self.first_rows[number + 1] - self.first_rows[number]:
            raise DatasetDamaged(
                f"Record batch {number:,} of {stamp.name!r} has {batch.num_rows:,} rows, "
                "other than its index says.",
                hint="load the dataset with force_reindex",
            )
        return batch

    def joined_messages(self, number: int, after: int) -> pa.Buffer | None:
        """Return the messages of record batches from ``number`` to ``after``, as they stand.

        Returns:
            None unless they follow one another in one file, and are of the schema that is served.

        Raises:
            ContentChanged: Their file is not the file that was opened.
            DatasetDamaged: It cannot be read.
        """
        file, offset, _ = (int(part) for part in self._index.places[number])
        last_file, last_offset, length = (int(part) for part in self._index.places[after - 1])
        lengths = self._index.places[number:after, 2]
        if self._is_encoded or file != last_file or offset + lengths.sum() != last_offset + length:
            return None
        stamp = self._checked(file)
        with damage_told(f"File {stamp.name!r} cannot be read."):
            return self._mapped(stamp).slice(offset, last_offset + length - offset)

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
        return Table(replace(self._index, fingerprint=fingerprint), self._folder)

    def save(self) -> None:
        """Keep the index on disk; where that cannot be done, the next opening builds it again."""
        path = index_path(self._folder, self.files)
        try:
            save_index(path, self._index)
        except OSError as exc:
            # On Windows an index cannot be replaced while somebody has it mapped: then it is good.
            _LOG.warning("cannot keep the index of %s: %s", self.files[0].name, exc)

    def _checked(self, file: int) -> Stamp:
        stamp = self._index.files[file]
        if not stamp.is_fresh:
            raise ContentChanged(f"File {stamp.name!r} changed after the dataset was opened.")
        return stamp

    def _read_encoded(
        self, content: pa.Buffer, file: int, offset: int, length: int
    ) -> pa.RecordBatch:
        """Return a batch through a stream of its own: schema, dictionaries before it, batch."""
        spans = [*self._schema_and_dictionaries(file, offset), (offset, length)]
        stream = b"".join(content.slice(*span).to_pybytes() for span in spans)
        with pa.ipc.open_stream(stream) as reader:
            batch = reader.read_next_batch()
        # Arrow follows the numbers of a dictionary's values without a look at them.
        batch.validate(full=True)
        return decoded(batch, self.schema)

    def _schema_and_dictionaries(self, file: int, offset: int) -> list[tuple[int, int]]:
        known = self._index.dictionaries
        before = known[(known[:, 0] == file) & (known[:, 1] < offset)]
        wanted: list[tuple[int, int]] = []
        complete: set[int] = set()
        for _, begin, length, number, is_delta in reversed(before.tolist()):
            if number not in complete:
                wanted.append((begin, length))
                if not is_delta:
                    complete.add(number)
        begin, length = self._index.schemas[file, :2].tolist()
        return [(begin, length), *reversed(wanted)]


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
        return Table(kept, options.folder)
    table = Table(walked_index(stamps, options.progress), options.folder).checked()
    table = table.with_fingerprint(fingerprint(table))
    if not table.is_fresh:
        raise ContentChanged("Files of the dataset changed while it was indexed.")
    table.save()
    return table


def _mapped(stamp: Stamp) -> pa.Buffer:
    # The buffer keeps the mapping; the descriptor is given back at once, so that ten thousand
    # files need none.
    with pa.memory_map(stamp.path) as opened:
        return opened.read_buffer(stamp.size)


def _reopened(files: tuple[Stamp, ...], folder: Path) -> Table:
    """Return the table of a pickle: of the same files, or of none."""
    kept = load_index(index_path(folder, files), files)
    if kept is not None:
        return Table(kept, folder)
    for stamp in files:
        if not stamp.is_fresh:
            raise ContentChanged(f"File {stamp.name!r} changed after the dataset was opened.")
    return Table(walked_index(files, progress=False), folder)
