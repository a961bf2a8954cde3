"""What a page or a program does with the registry; no token leaves by it but in a bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from fdss.bundles import Bundle, parse_bundle
from fdss.errors import BadParameter, FdssError, Forbidden, NotFound, SettingError
from fdss.hosts import is_loopback
from fdss.wire.names import HEALTH_PATH

from .asking import Asker, AskFailed, token_of
from .membership import MAX_LABEL, Member, member_from_json
from .names import REGISTRY
from .reaching import reached_from_outside
from .registry import Entry, Registry

Json = dict[str, Any]
HEALTH_TIMEOUT_S = 5.0
#: What a server listens on, and how it is asked there.
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}

_PORTS = {"http": 80, "https": 443}


class Registrations:
    """The registry as somebody may use it who has shown the router's token."""

    def __init__(
        self,
        registry: Registry,
        find: Callable[[str], Member],
        on_change: Callable[[], None],
        *,
        is_guarded: bool,
    ) -> None:
        """Take the registry.

        Args:
            find: Finds a member by its id, and raises NotFound for whoever is none.
            on_change: Called after every change.
            is_guarded: Whether the router wants a token; where it does not, everybody may ask it,
                so the registry is changed on its machine alone and no bundle is given.
        """
        self._registry = registry
        self._find = find
        self._on_change = on_change
        self._is_guarded = is_guarded

    def add(self, label: str, base_url: str, auth_token: str = "", verify_tls: bool = True) -> str:
        """Add a server, in place of one with the same URL, and return the id of its entry.

        Raises:
            BadParameter: A value is none of what it could be.
            Forbidden: The router wants no token.
            FdssError: The registry cannot be used.
        """
        self._check_guarded()
        if len(label) > MAX_LABEL or not label.isprintable():
            raise BadParameter(f"A label has at most {MAX_LABEL} visible characters.")
        told = {"base_url": base_url, "auth_token": auth_token.strip(), "label": label.strip()}
        try:
            member = member_from_json({**told, "verify_tls": verify_tls}, REGISTRY)
        except SettingError as error:
            raise BadParameter(error.message, hint=error.hint) from error
        with _usable():
            entry = self._registry.add(member)
        self._on_change()
        return entry.id

    def add_bundle(self, bundle: str, label: str = "", verify_tls: bool = True) -> str:
        """Add the server that a bundle names; otherwise as ``add``.

        Raises:
            BadBundle: It is none.
        """
        self._check_guarded()
        told = parse_bundle(bundle)
        return self.add(label, told.url, told.token, verify_tls)

    def remove(self, entry_id: str) -> None:
        """Remove the entry with an id.

        Raises:
            NotFound: No entry has it.
            Forbidden: The router wants no token.
            FdssError: The registry cannot be used.
        """
        self._check_guarded()
        with _usable():
            self._registry.remove(self._entry(entry_id).id)
        self._on_change()

    def bundle(self, server_id: str) -> str:
        """Return the address and the token of a member as one line, which is a credential.

        A server of this machine is named by an address that others reach, if it answers at one.

        Raises:
            NotFound: No member has that id.
            Forbidden: The router wants no token.
            BadParameter: No bundle can say where the server is.
        """
        self._check_guarded()
        member = self._find(server_id)
        told = bundle_of(member)
        if not is_loopback(told.host):
            return str(told)
        with closing(Asker(member)) as asker:
            try:
                health = asker.get(HEALTH_PATH, HEALTH_TIMEOUT_S)
            except AskFailed:
                return str(told)
        return str(reached_from_outside(told, health, verify_tls=member.verify_tls))

    def entry(self, entry_id: str) -> Json:
        """Return the entry with an id, without its token; errors as in ``remove``."""
        with _usable():
            return shown(self._entry(entry_id))

    def list(self) -> Sequence[Json]:
        """Return the entries without tokens.

        Raises:
            FdssError: The registry cannot be used.
        """
        with _usable():
            return [shown(entry) for entry in self._registry.entries()]

    def _entry(self, entry_id: str) -> Entry:
        for entry in self._registry.entries():
            if entry.id == entry_id:
                return entry
        raise NotFound(f"The registry has no entry {entry_id[:80]!r}.")

    def _check_guarded(self) -> None:
        if not self._is_guarded:
            raise Forbidden(
                "This router wants no token, so its registry is not changed from afar and it gives "
                "no bundles.",
                hint="start it with a token, or use fdss router add on its machine",
            )


def bundle_of(member: Member) -> Bundle:
    """Return the bundle of a member.

    Raises:
        BadParameter: Its URL has a path, for which a bundle has no place.
    """
    parts = urlsplit(member.base_url)
    if parts.path or not parts.hostname:
        raise BadParameter(f"No bundle can name {member.base_url}: it has a path.")
    port = parts.port or _PORTS[parts.scheme]
    host = WILDCARDS.get(parts.hostname, parts.hostname)
    return Bundle(host, port, token_of(member), parts.scheme)


def shown(entry: Entry) -> Json:
    """Return an entry of the registry without its token."""
    told = entry.as_json()
    has_token = bool(told.pop("auth_token"))
    return {**told, "server_id": entry.member.server_id, "has_auth_token": has_token}


@contextmanager
def _usable() -> Iterator[None]:
    """Tell what is wrong with the registry, but not where it lies."""
    try:
        yield
    except OSError as error:
        hint = "on the router's machine: fdss router list"
        raise FdssError(f"The registry cannot be used: {error.strerror}.", hint=hint) from error
