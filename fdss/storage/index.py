"""The index of a dataset's record batches: where each lies in which file, and its first row.

On disk it is one file: a magic, a header in JSON, and flat arrays, which are read and checked in
a few milliseconds for two hundred thousand batches. Its name holds the sizes and times of the
files it describes; when one of them changes, it is simply not found.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdss.errors import DatasetDamaged
from fdss.files import write_whole
from fdss.order import MAX_ROWS

from .messages import DICTIONARY, END, RECORD_BATCH, SCHEMA, Message
from .stamps import Stamp, paths_key, stamps_key

MAGIC = b"FDSS-INDEX-0002\n"
SUFFIX = ".batches"

_LEAD = struct.Struct("<16sQ32s")
_ALIGNMENT = 64
_DICTIONARY_NUMBERS = 5

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class BatchIndex:
    """Where the record batches of some files lie.

    Attributes:
        files: The files, in the order of their rows.
        schema: Schema message of the first file, as it stands there.
        first_rows: int64, one more than there are batches: the first row of each, then all rows.
        places: int64, a row for each batch: number of its file, offset, length in bytes.
        dictionaries: int64, a row for each dictionary: number of its file, offset, length in
            bytes, id, and 1 if it is a delta.
        schemas: int64, a row for each file: offset and length of its schema message, and 1 if
            the file ends as Arrow's writers end it.
        is_compressed: Whether any batch is compressed.
        fingerprint: Content fingerprint; empty until it is known.
    """

    files: tuple[Stamp, ...]
    schema: bytes
    first_rows: Numbers
    places: Numbers
    dictionaries: Numbers
    schemas: Numbers
    is_compressed: bool
    fingerprint: str = ""

    @property
    def rows(self) -> int:
        """Return the number of rows of all files."""
        return int(self.first_rows[-1])

    @property
    def data_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(stamp.size for stamp in self.files)


def build_index(files: tuple[Stamp, ...], walks: Iterable[Iterator[Message]]) -> BatchIndex:
    """Return the index of some files.

    Args:
        files: The files, in the order of their rows.
        walks: The messages of each file.

    Raises:
        DatasetDamaged: A file is cut or is no Arrow file.
    """
    rows: list[int] = [0]
    places: list[tuple[int, int, int]] = []
    dictionaries: list[tuple[int, ...]] = []
    schemas: list[tuple[int, ...]] = []
    is_compressed = False
    for number, walk in enumerate(walks):
        for found in walk:
            if found.kind == RECORD_BATCH and found.rows:
                places.append((number, found.offset, found.length))
                rows.append(found.rows)
                is_compressed = is_compressed or found.is_compressed
            elif found.kind == DICTIONARY:
                span = (found.offset, found.length, found.dictionary, int(found.is_delta))
                dictionaries.append((number, *span))
            elif found.kind == SCHEMA:
                # An offset is that of an Arrow file, whose footer was looked for.
                schemas.append((found.offset, found.length, int(found.offset > 0)))
            elif found.kind == END:
                offset, length, is_file = schemas[-1]
                is_last = found.offset + found.length == files[number].size
                schemas[-1] = (offset, length, int(is_file or is_last))
    if sum(rows) > MAX_ROWS:
        raise DatasetDamaged(f"File {files[0].name!r} and those after it tell too many rows.")
    return BatchIndex(
        files=files,
        schema=_read_span(Path(files[0].path), *schemas[0][:2]),
        first_rows=np.cumsum(np.array(rows, np.int64)),
        places=np.array(places, np.int64).reshape(-1, 3),
        dictionaries=np.array(dictionaries, np.int64).reshape(-1, _DICTIONARY_NUMBERS),
        schemas=np.array(schemas, np.int64).reshape(-1, 3),
        is_compressed=is_compressed,
    )


def index_path(folder: Path, files: Iterable[Stamp]) -> Path:
    """Return where the index of some files is kept."""
    stamps = tuple(files)
    paths = paths_key(stamp.path for stamp in stamps)
    return folder / f"{paths}-{stamps_key(stamps)}{SUFFIX}"


def load_index(path: Path, files: tuple[Stamp, ...]) -> BatchIndex | None:
    """Return the index kept at ``path``; None if there is none, or not a sound one of ``files``."""
    try:
        with path.open("rb") as file:
            magic, header_bytes, digest = _LEAD.unpack(file.read(_LEAD.size))
            if magic != MAGIC or header_bytes > path.stat().st_size:
                return None
            encoded = file.read(header_bytes)
            if hashlib.sha256(encoded).digest() != digest:
                return None
            header = json.loads(encoded)
            if header["files"] != [[stamp.path, stamp.size, stamp.mtime_ns] for stamp in files]:
                return None
            file.seek(_aligned(_LEAD.size + header_bytes))
            words = np.frombuffer(bytearray(file.read()), np.int64)
        index = _told(header, files, words)
        return index if _is_sound(index) else None
    except (OSError, struct.error, ValueError, LookupError, TypeError, RecursionError):
        return None


def save_index(path: Path, index: BatchIndex) -> None:
    """Keep an index at ``path``, whole or not at all, and drop those of older files.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = (np.ascontiguousarray(array).tobytes() for array in _arrays(index))
    write_whole(path, chain([_header(index)], arrays))
    older = path.name.partition("-")[0]
    for other in path.parent.glob(f"{older}-*{SUFFIX}"):
        if other != path:
            with contextlib.suppress(OSError):
                other.unlink()


def _header(index: BatchIndex) -> bytes:
    header = json.dumps(
        {
            "files": [[stamp.path, stamp.size, stamp.mtime_ns] for stamp in index.files],
            "schema": base64.b64encode(index.schema).decode(),
            "shapes": [array.shape for array in _arrays(index)],
            "is_compressed": index.is_compressed,
            "fingerprint": index.fingerprint,
        }
    ).encode()
    lead = _LEAD.pack(MAGIC, len(header), hashlib.sha256(header).digest())
    return (lead + header).ljust(_aligned(len(lead) + len(header)), b"\0")


def _told(header: dict[str, Any], files: tuple[Stamp, ...], words: Numbers) -> BatchIndex:
    shapes = [tuple(shape) for shape in header["shapes"]]
    counts = [int(np.prod(shape)) for shape in shapes]
    if sum(counts) != len(words) or min(counts) < 0:
        raise ValueError("the file is longer or shorter than its header says")
    parts = np.split(words, np.cumsum(counts)[:-1])
    first_rows, places, dictionaries, schemas = (
        part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
    )
    return BatchIndex(
        files=files,
        schema=base64.b64decode(header["schema"]),
        first_rows=first_rows,
        places=places,
        dictionaries=dictionaries,
        schemas=schemas,
        is_compressed=bool(header["is_compressed"]),
        fingerprint=str(header["fingerprint"]),
    )


def _is_sound(index: BatchIndex) -> bool:
    """Tell whether an index speaks of rows that follow one another, and of bytes of its files."""
    rows, places = index.first_rows, index.places
    files = np.arange(len(index.files), dtype=np.int64)
    spans = np.concatenate(
        [places, index.dictionaries[:, :3], np.column_stack([files, index.schemas[:, :2]])]
    )
    sizes = np.array([stamp.size for stamp in index.files], np.int64)
    if rows.ndim != 1 or len(rows) != len(places) + 1 or places.shape[1:] != (3,):
        return False
    if spans.min() < 0 or spans[:, 0].max() >= len(files):
        return False
    limits = sizes[spans[:, 0]]
    within = (spans[:, 1] <= limits) & (spans[:, 2] <= limits - np.minimum(spans[:, 1], limits))
    return bool(
        rows[0] == 0 and rows[-1] <= MAX_ROWS and (rows[1:] > rows[:-1]).all() and within.all()
    )


def _arrays(index: BatchIndex) -> list[Numbers]:
    return [index.first_rows, index.places, index.dictionaries, index.schemas]


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _read_span(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
