"""The bearer token: made, kept in a file, found by a client, compared by a server."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from fdss import places
from fdss.errors import SettingError
from fdss.files import write_whole
from fdss.hosts import is_loopback

TOKEN_VARIABLE = "FORGATHER_DATASET_SERVER_TOKEN"
OTHERS = 0o077
_DEFAULT_PORTS = {"http": 80, "https": 443}


def mint() -> str:
    """Return a fresh token: 64 hex digits, 256 random bits."""
    return secrets.token_hex(32)


def keep(path: Path, token: str) -> None:
    """Write a token to a file of mode 0600 in a folder of mode 0700, as a whole or not at all.

    Windows keeps no such modes; there the profile folder is what protects the file.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.name == "posix":
        path.parent.chmod(0o700)
    write_whole(path, [f"{token}\n".encode()], durable=True)


def read(path: Path) -> str | None:
    """Return the token in a file; None if there is no such file, or nothing readable in it."""
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def read_private(path: Path) -> str:
    """Return the token in a file that only its owner may use.

    Raises:
        SettingError: The file cannot be read, is empty, or (POSIX) other users may use it.
    """
    try:
        mode = path.stat().st_mode
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingError(f"Token file {str(path)!r} cannot be read: {reason}.") from error
    if os.name == "posix" and mode & OTHERS:
        raise SettingError(
            f"Token file {str(path)!r} may be used by other users (mode {mode & 0o777:04o}).",
            hint=f"chmod 600 {path}",
        )
    if not token:
        raise SettingError(f"Token file {str(path)!r} is empty.")
    return token


def is_exposed(path: Path) -> bool:
    """Return whether other users may read or change a file; never true on Windows."""
    return os.name == "posix" and bool(path.stat().st_mode & OTHERS)


def is_sendable(token: str) -> bool:
    """Return whether a token can stand in an Authorization header: visible ASCII, 1 or more."""
    return token != "" and all("!" <= character <= "~" for character in token)


def matches(given: str, expected: str) -> bool:
    """Return whether two tokens are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass")
    )


def find(url: str, explicit: str | None) -> str | None:
    """Return the token to send to a server, or None.

    The first of: ``explicit``, $FORGATHER_DATASET_SERVER_TOKEN, and, when the URL's host is
    this machine, the file of the server on the URL's port.
    """
    named = explicit or os.environ.get(TOKEN_VARIABLE, "").strip()
    return named or _local_token(url)


def _local_token(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if port is None or parts.hostname is None or not is_loopback(parts.hostname):
        return None
    return read(places.token_file(port))
