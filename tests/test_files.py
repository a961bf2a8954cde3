"""Files and folders are made private, and read only if they are what they should be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fdss.files import make_private, open_regular, read_regular


@pytest.mark.only_on("linux", "darwin")
def test_folders_are_their_owners_alone(tmp_path: Path) -> None:
    """What is made is 0700 up to the first that was there, and what was open is closed."""
    deep = tmp_path / "a" / "b" / "c"
    before = os.umask(0)
    try:
        make_private(deep)
    finally:
        os.umask(before)
    assert {folder.stat().st_mode & 0o777 for folder in (deep, deep.parent)} == {0o700}

    deep.chmod(0o755)
    make_private(deep)
    assert deep.stat().st_mode & 0o777 == 0o700


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A file where the folder belongs is an error, and stays as it is."""
    file = tmp_path / "file"
    file.touch()
    mode = file.stat().st_mode

    with pytest.raises(FileExistsError):
        make_private(file)
    assert file.stat().st_mode == mode


@pytest.mark.only_on("linux", "darwin")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Only regular files are opened."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe")

    for opened in (open_regular(tmp_path / "pipe"), open_regular(tmp_path)):
        with pytest.raises(OSError), opened:
            pass
    with pytest.raises(OSError, match="no regular file"):
        read_regular(tmp_path / "pipe", 10)
