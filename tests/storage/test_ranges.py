"""A file that is sent is open once for all who send of it, for as long as one of them does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fdss.errors import DatasetDamaged
from fdss.storage.ranges import FileRange
from fdss.storage.stamps import Stamp

CONTENT = b"rows of a dataset"


@pytest.fixture
def stamp(tmp_path: Path) -> Stamp:
    """Return a file as it is."""
    file = tmp_path / "data.arrow"
    file.write_bytes(CONTENT)
    return Stamp.of(file)


def sent(stamp: Stamp) -> bytes:
    """Return all of a file, as a body that is sent takes it."""
    return b"".join(FileRange(stamp, 0, len(CONTENT)).pieces())


def test_file_that_is_given_up_is_not_handed_to_another(
    stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that begins in the moment in which the last one ends gets all of the file."""
    close = os.close
    found: list[bytes] = []

    def close_slowly(descriptor: int) -> None:
        close(descriptor)
        if not found:
            found.append(b"")
            found.append(sent(stamp))

    monkeypatch.setattr(os, "close", close_slowly)
    assert sent(stamp) == CONTENT
    assert found == [b"", CONTENT]


@pytest.mark.parametrize("read", [FileRange.first, FileRange.mapped])
def test_file_that_cannot_be_read_is_no_fault_of_who_reads(
    stamp: Stamp, read: Callable[[FileRange], object]
) -> None:
    """What the system says against reading names the file; it is no error of a connection."""
    body = FileRange(stamp, 0, len(CONTENT))
    body.first()
    assert body._file is not None
    body._file.close()

    with pytest.raises(DatasetDamaged, match=r"'data\.arrow' cannot be read"):
        read(body)
