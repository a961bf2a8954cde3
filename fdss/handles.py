"""The file that keeps handles over a restart: handle to arguments."""

from __future__ import annotations

import errno
import json
import logging
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter
from fdss.files import make_private, read_regular, write_whole
from fdss.locking import locked
from fdss.recent import Recent

VERSION = 1
MAX_HANDLES = 4096
#: Of the arguments of all handles together, and of a file that is read at all.
MAX_ARGUMENT_BYTES = 8 << 20
MAX_FILE_BYTES = 4 * MAX_ARGUMENT_BYTES
_ODD_FILE = (errno.EINVAL, errno.EFBIG)

logger = logging.getLogger(__name__)


@dataclass
class _Content:
    """What is in the file, the handles loaded longest ago first.

    ``opened`` are handles that the run with that name has opened.
    """

    handles: dict[str, LoadArguments] = field(default_factory=dict)
    run: str | None = None
    opened: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        entries = {handle: entry.as_json() for handle, entry in self.handles.items()}
        body: dict[str, Any] = {"version": VERSION, "handles": entries}
        return body if self.run is None else {**body, "run": self.run, "opened": self.opened}

    def add(self, arguments: LoadArguments, most: int) -> None:
        """Add a handle as the one loaded last, and forget those beyond the bounds."""
        kept: Recent[LoadArguments] = Recent(most, MAX_ARGUMENT_BYTES)
        for entry in (*self.handles.values(), arguments):
            kept.put(entry.handle, entry, argument_bytes(entry))
        self.handles = dict(kept.items())
        opened = {*self.opened, arguments.handle}
        self.opened = [handle for handle in self.handles if handle in opened]

    def is_recent(self, handle: str, most: int) -> bool:
        """Return whether a handle is in no danger of being forgotten soon."""
        newest = list(self.handles)[-max(1, most // 2) :]
        return len(self.handles) <= most // 2 or handle in newest


class HandlesFile:
    """Arguments of the handles that were loaded last by the server on one port.

    Several processes may use it: it is written as a whole or not at all, and changed by one at a
    time. A file that cannot be understood is set aside as ``<name>.corrupt`` and reported, once;
    its handles must be loaded again.
    """

    def __init__(self, path: Path, run: str | None = None, most: int = MAX_HANDLES) -> None:
        """Name the file; it need not be there.

        Args:
            run: Name that the processes of one server share; None for a process of its own.
            most: Most handles that are kept, 1 or more.
        """
        self._path = path
        self._run = run
        self._most = most
        self._known: tuple[tuple[int, ...], _Content] | None = None

    def arguments_of(self, handle: str) -> LoadArguments | None:
        """Return the arguments a handle was made from; None if it is not known."""
        return self._read().handles.get(handle)

    def opened(self) -> list[str]:
        """Return the handles that any process of this run has opened; needs a ``run``.

        The one loaded longest ago comes first.
        """
        content = self._read()
        return content.opened if content.run == self._run else []

    def add(self, arguments: LoadArguments) -> None:
        """Keep the handle of these arguments, as the one loaded last."""
        if self._has(self._read(), arguments):
            return
        make_private(self._path.parent)
        with self._locked():
            found = self._read_locked()
            content = _Content(found.handles, self._run, found.opened)
            if found.run != self._run:
                content.opened = []
            content.add(arguments, self._most)
            write_whole(self._path, [json.dumps(content.as_json()).encode()])

    def _has(self, content: _Content, arguments: LoadArguments) -> bool:
        is_opened = content.run == self._run and arguments.handle in content.opened
        return (
            content.handles.get(arguments.handle) == arguments
            and (is_opened or self._run is None)
            and content.is_recent(arguments.handle, self._most)
        )

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._path.with_name(f".{self._path.name}.lock"))

    def _read(self) -> _Content:
        try:
            return self._parsed()
        except FileNotFoundError:
            return _Content()
        except (OSError, ValueError, RecursionError) as error:
            _raise_if_not_odd(error)
            with self._locked():
                return self._read_locked()

    def _read_locked(self) -> _Content:
        try:
            return self._parsed()
        except FileNotFoundError:
            return _Content()
        except (OSError, ValueError, RecursionError) as error:
            _raise_if_not_odd(error)
            aside = self._path.with_name(self._path.name + ".corrupt")
            os.replace(self._path, aside)
            logger.error("handles file %s is corrupt (%s); kept as %s", self._path, error, aside)
            return _Content()

    def _parsed(self) -> _Content:
        """Return what the file says; it is read again only when it is another one."""
        found = self._path.stat()
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, _parse(json.loads(read_regular(self._path, MAX_FILE_BYTES).data))
        return self._known[1]


def argument_bytes(arguments: LoadArguments) -> int:
    """Return about how much memory the arguments of a load take."""
    return len(json.dumps(arguments.as_json()))


def _raise_if_not_odd(error: Exception) -> None:
    """Raise an error again that is the disk's, and not one of what is in the file."""
    if isinstance(error, OSError) and error.errno not in _ODD_FILE:
        raise error


def _parse(body: Any) -> _Content:
    """Return what a file's JSON says; entries whose handle is not theirs are left out."""
    if not isinstance(body, dict) or body.get("version") != VERSION:
        raise BadParameter(f"it is not a handles file of version {VERSION}")
    entries = body.get("handles")
    if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
        raise BadParameter("'handles' is not a mapping of mappings")
    found = {handle: LoadArguments.from_json(entry) for handle, entry in entries.items()}
    known = {handle: entry for handle, entry in found.items() if entry.handle == handle}
    run, opened = body.get("run"), body.get("opened", [])
    if not isinstance(run, str) or not isinstance(opened, list):
        return _Content(known)
    named = {handle for handle in opened if isinstance(handle, str)}
    return _Content(known, run, [handle for handle in known if handle in named])
