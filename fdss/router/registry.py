"""The registry file: the dataset servers that an operator has added by hand."""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

from fdss import tokens
from fdss.errors import NotFound, SettingError
from fdss.files import make_private, read_regular, write_whole
from fdss.locking import locked

from .membership import Member, member_from_json
from .names import REGISTRY

POLL_S = 2.0
MAX_BYTES = 1 << 24

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One line of the registry: a member, and the name it is removed by."""

    id: str
    member: Member = field(compare=False)

    def as_json(self) -> dict[str, Any]:
        """Return the form it has in the file."""
        return {
            "id": self.id,
            "label": self.member.label,
            "base_url": self.member.base_url,
            "auth_token": self.member.auth_token,
            "verify_tls": self.member.verify_tls,
        }


class RegistryDamaged(OSError):
    """The registry cannot be understood; it stays as it is until somebody adds a server."""


class Registry:
    """A list of servers in a file of mode 0600, written whole, changed by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Name the file; it need not be there."""
        self.path = path

    def entries(self) -> list[Entry]:
        """Return what is in the file; nothing if there is none.

        Raises:
            RegistryDamaged: It is not what it should be.
            OSError: It cannot be read.
        """
        try:
            text = read_regular(self.path, MAX_BYTES).data
        except FileNotFoundError:
            return []
        try:
            return _entries(json.loads(text))
        except (ValueError, RecursionError) as error:
            # Who asks the router is told the reason, but not where the file is.
            raise RegistryDamaged(
                errno.EINVAL, f"the registry cannot be understood ({error})", str(self.path)
            ) from error

    def add(self, member: Member) -> Entry:
        """Add a server, in place of one with the same URL, and return its entry.

        A file that cannot be understood is kept aside as ``*.corrupt``.

        Raises:
            OSError: The file cannot be written.
        """
        make_private(self.path.parent)
        with locked(self._lock):
            entries = self._entries_or_none()
            same = [entry for entry in entries if entry.member.base_url == member.base_url]
            added = Entry(same[0].id if same else secrets.token_hex(4), member)
            others = [entry for entry in entries if entry not in same]
            self._write([*others, added])
        return added

    def remove(self, named: str) -> Entry:
        """Remove the server with an id, a server id, a label or a URL, and return its entry.

        Raises:
            NotFound: None has that name, or several have.
            RegistryDamaged: The file is not what it should be.
            OSError: The file cannot be written.
        """
        make_private(self.path.parent)
        with locked(self._lock):
            entries = self.entries()
            by_name = [entry for entry in entries if named.rstrip("/") in _names(entry)]
            # An id is its entry's alone, whatever others are called.
            found = [entry for entry in by_name if entry.id == named] or by_name
            if len(found) != 1:
                what = "several servers have" if found else "no server has"
                raise NotFound(
                    f"In the registry {what} the name {named!r}.",
                    hint="fdss router list shows the id of each",
                )
            self._write([entry for entry in entries if entry != found[0]])
        return found[0]

    @property
    def _lock(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _entries_or_none(self) -> list[Entry]:
        try:
            return self.entries()
        except RegistryDamaged as error:
            logger.error("%s; it is kept as %s, and a new one begun", error, self._set_aside())
            return []

    def _write(self, entries: list[Entry]) -> None:
        text = json.dumps([entry.as_json() for entry in entries], indent=2)
        write_whole(self.path, [f"{text}\n".encode()], durable=True)

    def _set_aside(self) -> Path:
        """Give the file a name that nothing has yet: it may hold what nobody else has."""
        endings = chain([""], map("-{}".format, count(1)))
        places = (self.path.with_name(f"{self.path.name}.corrupt{ending}") for ending in endings)
        aside = next(place for place in places if not place.exists())
        os.replace(self.path, aside)
        return aside


class RegistryMembership:
    """The members that the registry file names."""

    every_s = POLL_S

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._is_told = False

    def members(self) -> list[Member]:
        """Return them.

        Raises:
            OSError: The file cannot be read, or understood.
        """
        members = [entry.member for entry in self._registry.entries()]
        if not self._is_told and any(member.auth_token for member in members):
            self._is_told = True
            self._tell_of_mode()
        return members

    def _tell_of_mode(self) -> None:
        path = self._registry.path
        if tokens.is_exposed(path):
            logger.warning("%s holds tokens and may be used by other users: chmod 600", path)

    def close(self) -> None:
        """Do nothing: no file stays open."""


def _entries(body: Any) -> list[Entry]:
    if not isinstance(body, list):
        raise SettingError("The registry is not a list.")
    return [_entry(entry) for entry in body]


def _entry(body: Any) -> Entry:
    if not isinstance(body, dict):
        raise SettingError("An entry of the registry is not an object.")
    member = member_from_json(body, REGISTRY)
    return Entry(str(body.get("id") or member.server_id[:8]), member)


def _names(entry: Entry) -> set[str]:
    member = entry.member
    return {entry.id, member.server_id, member.label, member.base_url}
