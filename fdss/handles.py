"""The file that keeps handles over a restart: handle to arguments."""

from __future__ import annotations

import json
import logging
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter
from fdss.files import write_whole
from fdss.locking import locked

VERSION = 1
logger = logging.getLogger(__name__)


@dataclass
class _Content:
    """What is in the file; ``opened`` are handles that the run with that name has opened."""

    handles: dict[str, LoadArguments] = field(default_factory=dict)
    run: str | None = None
    opened: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        entries = {handle: entry.as_json() for handle, entry in sorted(self.handles.items())}
        body: dict[str, Any] = {"version": VERSION, "handles": entries}
        return body if self.run is None else {**body, "run": self.run, "opened": self.opened}


class HandlesFile:
    """Arguments of every handle ever loaded by the server on one port.

    Several processes may use it: it is written as a whole or not at all, and changed by one at a
    time. A file that cannot be understood is set aside as ``<name>.corrupt`` and reported, once;
    its handles must be loaded again.
    """

    def __init__(self, path: Path, run: str | None = None) -> None:
        """Name the file; it need not be there.

        Args:
            run: Name that the processes of one server share; None for a process of its own.
        """
        self._path = path
        self._run = run

    def arguments_of(self, handle: str) -> LoadArguments | None:
        """Return the arguments a handle was made from; None if it is not known."""
        return self._read().handles.get(handle)

    def opened(self) -> list[str]:
        """Return the handles that any process of this run has opened; needs a ``run``."""
        content = self._read()
        return content.opened if content.run == self._run else []

    def add(self, arguments: LoadArguments) -> None:
        """Keep the handle of these arguments; handles in the file stay."""
        if self._has(self._read(), arguments):
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            content = self._read_locked()
            if content.run != self._run:
                content.run, content.opened = self._run, []
            content.handles[arguments.handle] = arguments
            content.opened = sorted({*content.opened, arguments.handle})
            write_whole(self._path, [json.dumps(content.as_json(), indent=1).encode()])

    def _has(self, content: _Content, arguments: LoadArguments) -> bool:
        is_opened = content.run == self._run and arguments.handle in content.opened
        return content.handles.get(arguments.handle) == arguments and (
            is_opened or self._run is None
        )

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._path.with_name(f".{self._path.name}.lock"))

    def _read(self) -> _Content:
        try:
            return self._parsed()
        except FileNotFoundError:
            return _Content()
        except (ValueError, RecursionError):
            with self._locked():
                return self._read_locked()

    def _read_locked(self) -> _Content:
        try:
            return self._parsed()
        except FileNotFoundError:
            return _Content()
        except (ValueError, RecursionError) as error:
            aside = self._path.with_name(self._path.name + ".corrupt")
            os.replace(self._path, aside)
            logger.error("handles file %s is corrupt (%s); kept as %s", self._path, error, aside)
            return _Content()

    def _parsed(self) -> _Content:
        return _parse(json.loads(self._path.read_text("utf-8")))


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
    return _Content(known, run, [handle for handle in known if handle in opened])
