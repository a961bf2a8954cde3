"""Stored batches that are read as a whole: small ones, and those whose values need one another."""

from __future__ import annotations

import pyarrow as pa

from fdss.bounds import check_bounds
from fdss.errors import DatasetDamaged

from .expansion import check_expansion
from .index import BatchIndex
from .limits import MAX_BATCH_BYTES
from .outlines import is_fixed
from .ranges import OpenFile
from .schemas import decoded
from .stamps import Place

Span = tuple[int, int]


def check_values(batch: pa.RecordBatch) -> None:
    """Look through a batch, so that every value of it can be read.

    Raises:
        pa.ArrowException: One does not lie within the batch.
    """
    for column in batch.columns:
        if not is_fixed(column.type):
            check_bounds(column)


class WholeBatches:
    """Reads the batches of some files of one schema."""

    def __init__(
        self, index: BatchIndex, schema: pa.Schema, *, is_encoded: bool, is_guarded: bool
    ) -> None:
        """Read batches that an index tells of.

        Args:
            schema: Storage types of the columns.
            is_encoded: Whether columns are stored as the numbers of a dictionary's values.
            is_guarded: Copy batches, so that nothing that becomes of their file can end this
                process; else they are memory maps of it.
        """
        self._index = index
        self._schema = schema
        self._is_encoded = is_encoded
        self._is_guarded = is_guarded

    def read(self, place: Place, file: OpenFile) -> pa.RecordBatch:
        """Return a batch of storage types, of which only the outline was looked at.

        Args:
            file: Its file.

        Raises:
            ContentChanged: The file ends before the batch does.
            DatasetDamaged: The batch has other rows than its index says.
            Exception: One of ``contents.CONTENT_ERRORS``: it is damaged.
        """
        if place.length > MAX_BATCH_BYTES and self._is_guarded:
            raise ValueError("a record batch too large to be read as a whole")
        batch = self._encoded(place, file) if self._is_encoded else self._plain(place, file)
        if batch.num_rows != place.rows:
            raise DatasetDamaged(
                f"Record batch {place.number:,} of {place.stamp.name!r} has {batch.num_rows:,} "
                "rows, other than its index says.",
                hint="load the dataset with force_reindex",
            )
        return batch

    def _plain(self, place: Place, file: OpenFile) -> pa.RecordBatch:
        if self._is_guarded:
            content = file.read(place.offset, place.length)
        else:
            with pa.memory_map(place.stamp.path) as mapped:
                mapped.seek(place.offset)
                content = mapped.read_buffer(place.length)
        message = pa.ipc.read_message(content)
        if self._index.is_compressed:
            check_expansion(message)
        batch = pa.ipc.read_record_batch(message, self._schema)
        batch.validate()
        return batch

    def _encoded(self, place: Place, file: OpenFile) -> pa.RecordBatch:
        """Return a batch through a stream of its own: schema, dictionaries before it, batch."""
        spans = self._schema_and_dictionaries(place)
        spans.append((place.offset, place.length))
        if sum(length for _, length in spans) > MAX_BATCH_BYTES:
            raise ValueError("a record batch too large to be read as a whole")
        stream = b"".join(file.read(*span).to_pybytes() for span in spans)
        for message in pa.ipc.MessageReader.open_stream(stream):
            check_expansion(message)
        with pa.ipc.open_stream(stream) as reader:
            batch = reader.read_next_batch()
        # Arrow follows the numbers of a dictionary's values without a look at them.
        batch.validate(full=True)
        return decoded(batch, self._schema)

    def _schema_and_dictionaries(self, place: Place) -> list[Span]:
        file = self._index.files.index(place.stamp)
        known = self._index.dictionaries
        before = known[(known[:, 0] == file) & (known[:, 1] < place.offset)]
        wanted: list[Span] = []
        complete: set[int] = set()
        for _, begin, length, number, is_delta in reversed(before.tolist()):
            if number not in complete:
                wanted.append((begin, length))
                if not is_delta:
                    complete.add(number)
        begin, length = self._index.schemas[file, :2].tolist()
        return [(begin, length), *reversed(wanted)]
