"""What a load is told when datasets fails: what is not there, what is damaged, what passes."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from fdss.errors import DatasetDamaged, DatasetNotFound, FdssError, Unavailable
from fdss.storage import OpenOptions
from fdss.storage.reasons import explained

SECRET = "/srv/secret/place/file"


def told(error: BaseException, options: OpenOptions, folder: Path | None) -> FdssError:
    """Return what a load is told when preparing ends with an error."""
    with pytest.raises(FdssError) as caught, explained("some/thing", options, folder):
        raise error
    return caught.value


def generation_error(cause: BaseException) -> Exception:
    """Return what ``datasets`` makes of an error while it writes rows."""
    from datasets.exceptions import DatasetGenerationError

    error = DatasetGenerationError("An error occurred while generating the dataset")
    error.__cause__ = cause
    return cast(Exception, error)


LACKS: list[tuple[BaseException, str]] = [
    (OSError(errno.ENOSPC, "No space left on device", SECRET), "the disk is full"),
    (OSError("Not enough disk space. Needed: 3 GB (download: 1 GB)"), "the disk is full"),
    (OSError(errno.EDQUOT, "Disk quota exceeded", SECRET), "quota is used up"),
    (OSError(errno.EMFILE, "Too many open files", SECRET), "too many files are open"),
    (OSError(errno.ENFILE, "Too many open files in system"), "too many files are open"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
    (MemoryError(), "not enough memory"),
    (RuntimeError("can't start new thread"), "no room for another thread"),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no room for another"),
]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub count as asked; nothing here asks it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.mark.parametrize(("error", "lack"), LACKS, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_what_this_machine_lacks_passes(
    error: BaseException, lack: str, is_wrapped: bool, options: OpenOptions, tmp_path: Path
) -> None:
    """A full disk, files, memory or threads that ran out: ask again, and no path is told."""
    found = told(generation_error(error) if is_wrapped else error, options, tmp_path)

    assert type(found) is Unavailable
    assert lack in found.message
    assert "secret" not in str(found)


@pytest.mark.usefixtures("online")
def test_a_hub_that_does_not_answer_passes(options: OpenOptions) -> None:
    """Timeouts, lost connections and 5xx of the Hub are asked again where it may be asked."""
    open_options = replace(options, downloads=True)

    assert "in time" in told(TimeoutError("timed out"), open_options, None).message
    for error in (ConnectionError("Couldn't reach 'x' on the Hub"), ConnectionResetError()):
        found = told(error, open_options, None)
        assert type(found) is Unavailable
        assert "the Hub cannot be reached" in found.message
        assert type(told(error, options, None)) is DatasetNotFound


@pytest.mark.usefixtures("online")
def test_hidden_behind_another_error_the_hub_counts(options: OpenOptions) -> None:
    """Where datasets answers an outage with "no such file", the outage is what is told."""
    try:
        try:
            raise TimeoutError("timed out")
        except TimeoutError:
            raise FileNotFoundError("Couldn't find any data file at /srv/secret/x.") from None
    except FileNotFoundError as error:
        found = told(error, replace(options, downloads=True), None)

    assert type(found) is Unavailable
    assert "secret" not in str(found)


def test_what_is_not_there_and_what_is_damaged_stays_so(
    options: OpenOptions, tmp_path: Path
) -> None:
    """What asking again does not change is no passing trouble."""
    assert type(told(FileNotFoundError("no"), options, tmp_path)) is DatasetNotFound
    assert type(told(ValueError("BuilderConfig 'x' not found"), options, tmp_path)) is (
        DatasetNotFound
    )
    assert type(told(generation_error(TypeError("a")), options, tmp_path)) is DatasetDamaged


@pytest.mark.parametrize("error", [AttributeError("a"), TypeError("b"), KeyError("c")])
def test_what_nobody_expects_is_not_called_missing(
    error: Exception, options: OpenOptions, tmp_path: Path
) -> None:
    """A fault of the program passes through, and the server answers 500 and logs it."""
    with pytest.raises(type(error)), explained("some/thing", options, tmp_path):
        raise error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_real_full_device_passes(options: OpenOptions, tmp_path: Path) -> None:
    """What the system raises itself is understood."""
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError) as caught:
        full.write(b"x")

    assert type(told(caught.value, options, tmp_path)) is Unavailable


_CROWD = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from fdss.storage.reasons import import_datasets

sys.setswitchinterval(1e-6)
begin = threading.Barrier(8)

def one(number):
    begin.wait()
    import_datasets()
    from datasets.utils import tqdm
    from tqdm.contrib.concurrent import thread_map

    for _ in range(60):
        thread_map(str, range(2), tqdm_class=tqdm, max_workers=1, disable=True)

with ThreadPoolExecutor(8) as pool:
    list(pool.map(one, range(8)))
"""


def test_first_loads_at_once_share_their_progress_bars(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """No thread takes the lock of progress bars away from another."""
    run_python("-c", _CROWD)
