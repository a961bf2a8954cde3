"""The bearer token: made, kept in a file, found by a client, compared by a server."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from fdss.claims import token_files
from fdss.errors import SettingError
from fdss.files import Content, is_foreign, make_private, read_regular, write_whole
from fdss.hosts import is_loopback

TOKEN_VARIABLE = "FORGATHER_DATASET_SERVER_TOKEN"
OTHERS = 0o077
OTHERS_WRITE = 0o022
MAX_FILE_BYTES = 4096
_DEFAULT_PORTS = {"http": 80, "https": 443}


def mint() -> str:
    """Return a fresh token: 64 hex digits, 256 random bits."""
    return secrets.token_hex(32)


def keep(path: Path, token: str) -> None:
    """Write a token to a file of mode 0600 in a folder of mode 0700, as a whole or not at all.

    Windows keeps no such modes; there the profile folder is what protects the file.

    Raises:
        OSError: The folder cannot be made or written.
    """
    make_private(path.parent)
    write_whole(path, [f"{token}\n".encode()], durable=True)


def read(path: Path) -> str | None:
    """Return the token in a file; None if there is no such file, or nothing readable in it."""
    try:
        return _text(_content(path)) or None
    except (OSError, UnicodeDecodeError):
        return None


def read_kept(path: Path) -> str | None:
    """Return the token in a file that this machine keeps for its user; None as for ``read``.

    Raises:
        SettingError: Other users may use the file, or it is another user's (POSIX).
    """
    try:
        content = _content(path)
        token = _text(content) or None
    except (OSError, UnicodeDecodeError):
        return None
    _check_private(path, content)
    return token


def read_private(path: Path) -> str:
    """Return the token in a file that only its owner may use.

    Raises:
        SettingError: The file cannot be read, is empty, no regular file or too large, or
            (POSIX) other users may use it, or it is another user's.
    """
    try:
        content = _content(path)
        token = _text(content)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingError(f"Token file {str(path)!r} cannot be read: {reason}.") from error
    _check_private(path, content)
    if not token:
        raise SettingError(f"Token file {str(path)!r} is empty.")
    return token


def is_exposed(path: Path) -> bool:
    """Return whether other users may read or change a file; never true on Windows."""
    return os.name == "posix" and bool(path.stat().st_mode & OTHERS)


def is_planted(path: Path) -> bool:
    """Return whether another user may have written a file; never true on Windows.

    Raises:
        OSError: It is not there.
    """
    found = path.stat()
    return is_foreign(found) or (os.name == "posix" and bool(found.st_mode & OTHERS_WRITE))


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

    Raises:
        SettingError: Other users may use that file: it may be their token, or known to them.
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
    found = (read_kept(file) for file in token_files(parts.hostname, port))
    return next((token for token in found if token), None)


def _content(path: Path) -> Content:
    return read_regular(path, MAX_FILE_BYTES)


def _text(content: Content) -> str:
    return content.data.decode("utf-8").strip()


def _check_private(path: Path, content: Content) -> None:
    if is_foreign(content.found):
        raise SettingError(
            f"Token file {str(path)!r} belongs to another user.",
            hint="use a token file of your own",
        )
    mode = content.found.st_mode
    if os.name == "posix" and mode & OTHERS:
        raise SettingError(
            f"Token file {str(path)!r} may be used by other users (mode {mode & 0o777:04o}).",
            hint=f"chmod 600 {path}",
        )
