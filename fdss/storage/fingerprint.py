"""The content fingerprint: what tells that two datasets hold the same rows.

It is a sha256 over a canonical form of the schema with the HF features, the number of rows, and
the values of some rows, each in the tagged NDJSON of the wire, with their media files. File
names, file times, sharding and the sizes of record batches do not enter, so that a replica made
another way has the same fingerprint.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from fdss.wire.names import TAGGED
from fdss.wire.ndjson import encode_batch

from .media import MediaEmbedder
from .roots import MediaRoots
from .schemas import canonical_schema
from .tables import Table
from .views import View

SAMPLED_ROWS = 256

_VERSION = b"fdss-content-1\n"


def sampled_rows(count: int) -> NDArray[np.int64]:
    """Return the rows whose values enter: all of 256, else 256 at even distances.

    The first and the last are always among them.

    Args:
        count: Rows of the dataset, 0 or more.
    """
    if count <= SAMPLED_ROWS:
        return np.arange(count, dtype=np.int64)
    last = SAMPLED_ROWS - 1
    return np.array([number * (count - 1) // last for number in range(SAMPLED_ROWS)], np.int64)


def fingerprint_of(view: View, media: MediaEmbedder) -> str:
    """Return the content fingerprint of a view, 64 hex digits.

    About a mebibyte of rows is held in memory, one row at least.

    Args:
        media: Fills in the files that rows name; their content enters, not their place.

    Raises:
        UncarriableValue: A column has a type that the wire has no form for.
        FdssError: A row cannot be read.
    """
    digest = hashlib.sha256(_VERSION)
    digest.update(canonical_schema(view.schema).encode() + b"\n")
    digest.update(f"{len(view)}\n".encode())
    for row in view.each(sampled_rows(len(view))):
        [batch] = media.embedded(iter([row]))
        digest.update(encode_batch(batch, TAGGED))
    return digest.hexdigest()


def fingerprint_of_table(table: Table, roots: MediaRoots | None = None) -> str:
    """Return the content fingerprint of a whole table, whose media files are within ``roots``."""
    media = MediaEmbedder(table.schema, roots or MediaRoots())
    return fingerprint_of(View([(table, range(len(table)))]), media)
