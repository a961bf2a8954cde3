"""The file that keeps handles over a restart: handle to arguments."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any

from fdss.arguments import LoadArguments
from fdss.errors import BadParameter

VERSION = 1
logger = logging.getLogger(__name__)


class HandlesFile:
    """Arguments of every handle ever loaded by the server on one port.

    Written as a whole or not at all. A file that cannot be understood is set aside as
    ``<name>.corrupt`` and reported, once; its handles must be loaded again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def arguments_of(self, handle: str) -> LoadArguments | None:
        """Return the arguments a handle was made from; None if it is not known."""
        return self._read().get(handle)

    def add(self, arguments: LoadArguments) -> None:
        """Keep the handle of these arguments; handles in the file stay."""
        known = self._read()
        if known.get(arguments.handle) == arguments:
            return
        known[arguments.handle] = arguments
        body = {handle: entry.as_json() for handle, entry in sorted(known.items())}
        self._write(json.dumps({"version": VERSION, "handles": body}, indent=1))

    def _read(self) -> dict[str, LoadArguments]:
        try:
            return _parse(json.loads(self._path.read_text("utf-8")))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            aside = self._path.with_name(self._path.name + ".corrupt")
            os.replace(self._path, aside)
            logger.error("handles file %s is corrupt (%s); kept as %s", self._path, error, aside)
            return {}

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(fresh, self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            raise


def _parse(body: Any) -> dict[str, LoadArguments]:
    """Return the entries of a file's JSON; those whose handle is not theirs are left out."""
    if not isinstance(body, dict) or body.get("version") != VERSION:
        raise BadParameter(f"it is not a handles file of version {VERSION}")
    entries = body.get("handles")
    if not isinstance(entries, dict) or not all(isinstance(one, dict) for one in entries.values()):
        raise BadParameter("'handles' is not a mapping of mappings")
    found = {handle: LoadArguments.from_json(entry) for handle, entry in entries.items()}
    return {handle: entry for handle, entry in found.items() if entry.handle == handle}
