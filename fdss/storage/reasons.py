"""Why ``datasets`` could not prepare a dataset, told without the folders of this machine.

What the dataset or the request is to blame for is told from what passes by itself, as a full disk
or a Hub that does not answer; anything else is a fault of ours and passes through as it is.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pyarrow as pa

from fdss.errors import DatasetDamaged, DatasetNotFound, FdssError, Unavailable

from .options import OpenOptions

_LOG = logging.getLogger(__name__)
_FOLDER_IN_TEXT = re.compile(r"(?<![\w:/])(?:[A-Za-z]:)?[\\/](?:[^\s'\",:;\\/]+[\\/])+")
_MAX_REASON = 300

#: What a machine lacks for a while, by the number of the error that says so.
_LACKS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.ENOMEM: "there is not enough memory",
    errno.EAGAIN: "there is no room for another thread or process",
}
#: What ``datasets`` and Python say without a number, by how it begins.
_LACKS_IN_WORDS = {
    "Not enough disk space": _LACKS[errno.ENOSPC],
    "can't start new thread": _LACKS[errno.EAGAIN],
}
#: Statuses below 500 of an answer that may be another one later.
_UNTIMELY = (408, 425, 429)
_IMPORTING = threading.Lock()


def import_datasets() -> None:
    """Import ``datasets``, in one thread at a time, and make ready what its threads share.

    ``tqdm.contrib.concurrent`` removes the lock of progress bars that it finds missing, also from
    under another thread that has begun to use it; it leaves one alone that was there before.
    """
    with _IMPORTING:
        import datasets as datasets
        from tqdm import tqdm

        tqdm.get_lock()  # type: ignore[no-untyped-call]


@contextmanager
def explained(path: str, options: OpenOptions, folder: Path | None = None) -> Iterator[None]:
    """Turn what ``datasets`` raises into errors of ours, without the folders of this machine.

    Args:
        folder: Where the files are; None if the Hub is asked.

    Raises:
        DatasetNotFound: The dataset, or what was asked of it, is not there.
        DatasetDamaged: It cannot be prepared.
        Unavailable: This machine, or the Hub, lacks something that it may have later.
    """
    import_datasets()
    from datasets.exceptions import DatasetsError

    try:
        yield
    except FdssError:
        raise
    except (
        DatasetsError,
        _transport_error(),
        pa.ArrowException,
        OSError,
        ValueError,
        RuntimeError,
        ImportError,
        MemoryError,
    ) as exc:
        _LOG.warning("datasets: %s: %s", type(exc).__name__, exc)
        raise _translated(exc, path, options, folder) from exc


def not_had(path: str, options: OpenOptions) -> DatasetNotFound:
    """Return the one error for what neither the cache nor the Hub gives.

    What lies in the folder where the process runs makes no difference to it.
    """
    if options.downloads:
        return DatasetNotFound(
            f"Dataset {path!r} is not in the cache, and cannot be had from the Hub.",
            hint="look for the name on the Hub, and whether this machine can reach it",
        )
    return DatasetNotFound(
        f"Dataset {path!r} is not in the cache, and downloads are off.",
        hint="allow downloads (--allow-downloads), or prepare it with datasets.load_dataset; "
        f"if a named local was meant, ask for local/{path}",
    )


def _translated(exc: Exception, path: str, options: OpenOptions, folder: Path | None) -> FdssError:
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError

    is_hub_asked = folder is None and options.downloads and not constants.HF_HUB_OFFLINE
    lack = _lack(exc, is_hub_asked=is_hub_asked)
    if lack is not None:
        return Unavailable(
            f"Dataset {path!r} cannot be had now: {lack}.", hint="ask again in a while"
        )
    is_absent = isinstance(exc, DatasetNotFoundError | ConnectionError)
    if is_absent and folder is None and not isinstance(exc.__cause__, GatedRepoError):
        return not_had(path, options)
    known = [folder, options.index_folder, options.datasets_cache, options.hub_cache]
    reason = _reason(exc, [str(place) for place in known if place is not None])
    if not is_absent and isinstance(exc, FileNotFoundError):
        return DatasetNotFound(f"Dataset {path!r} cannot be found: {reason}")
    damage = (DatasetsError, pa.ArrowException, RecursionError, MemoryError)
    if not is_absent and isinstance(exc, damage):
        return DatasetDamaged(f"Dataset {path!r} cannot be prepared: {reason}")
    return DatasetNotFound(f"Dataset {path!r} cannot be had: {reason}")


def _lack(exc: BaseException, *, is_hub_asked: bool) -> str | None:
    """Return what this machine or, if it is asked, the Hub lacks for a while; None if nothing."""
    chain: list[BaseException] = []
    link: BaseException | None = exc
    while link is not None and link not in chain:
        chain.append(link)
        # ``datasets`` raises much "from None"; what came before is the reason all the same.
        link = link.__cause__ or link.__context__
    found = map(_lack_here, chain)
    of_hub = map(_lack_of_hub, chain) if is_hub_asked else ()
    return next(filter(None, (*found, *of_hub)), None)


def _lack_here(exc: BaseException) -> str | None:
    lack: str | None = None
    if isinstance(exc, OSError) and exc.errno is not None:
        lack = _LACKS.get(exc.errno)
    elif isinstance(exc, OSError | RuntimeError):
        known = (_LACKS_IN_WORDS[begin] for begin in _LACKS_IN_WORDS if str(exc).startswith(begin))
        lack = next(known, None)
    elif isinstance(exc, MemoryError) and not isinstance(exc, pa.ArrowException):
        # Arrow asks for as much as a damaged file says.
        lack = _LACKS[errno.ENOMEM]
    return None if lack is None else f"{lack} where it is prepared"


def _lack_of_hub(exc: BaseException) -> str | None:
    status = getattr(getattr(exc, "response", None), "status_code", None)
    if status is not None:
        is_passing = status >= 500 or status in _UNTIMELY
        return f"the Hub answers with status {status}" if is_passing else None
    if isinstance(exc, TimeoutError) or "Timeout" in type(exc).__name__:
        return "the Hub does not answer in time"
    if isinstance(exc, (ConnectionError, _transport_error())):
        return "the Hub cannot be reached"
    return None


def _transport_error() -> type[Exception]:
    """Return what the library raises that asks the Hub; another from version to version."""
    from huggingface_hub.errors import HfHubHTTPError

    return cast("type[Exception]", HfHubHTTPError.__bases__[0])


def _reason(exc: BaseException, hidden: list[str]) -> str:
    """Return the first line of an error, without folders: those known, then what looks like one."""
    cause = exc.__cause__ or exc
    first = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    for place in hidden:
        first = first.replace(place + os.sep, "").replace(place, "the dataset")
    return _FOLDER_IN_TEXT.sub("", first)[:_MAX_REASON]
