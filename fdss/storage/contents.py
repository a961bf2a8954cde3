"""What files hold, read so that whatever is wrong with it is told as damage.

Readers of Arrow and JSON answer bytes that mean nothing with whatever comes up on their way:
errors of their own, of text encodings, of missing keys, of nesting too deep.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from fdss.errors import DatasetDamaged, FdssError
from fdss.files import read_regular

from .limits import MAX_JSON_BYTES

CONTENT_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    SystemError,
    struct.error,
)


@contextmanager
def damage_told(message: str) -> Iterator[None]:
    """Turn what the content of a file makes its readers raise into ``DatasetDamaged``.

    Args:
        message: What is damaged, with no more of its place than a base name.
    """
    try:
        yield
    except FdssError:
        raise
    except CONTENT_ERRORS as exc:
        raise DatasetDamaged(message) from exc


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        FileNotFoundError: There is no file.
        DatasetDamaged: It cannot be read, or holds something else.
    """
    with damage_told(f"File {path.name!r} of the dataset cannot be read."):
        try:
            content = json.loads(read_regular(path, MAX_JSON_BYTES).data)
        except FileNotFoundError as exc:
            missing = exc
        else:
            if not isinstance(content, dict):
                raise DatasetDamaged(f"File {path.name!r} of the dataset is no JSON object.")
            return content
    raise missing
