"""The server's side of TLS: what it proves itself with, and how that is renewed while it runs."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdss.errors import SettingError

#: Seconds between two looks at the files. Each connection takes what the last look found.
LOOK_S = 1.0
#: Of TLS 1.2, those with forward secrecy and authenticated encryption; of 1.3, all.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

logger = logging.getLogger(__name__)

# Inode, size and times of each file, or nothing of one that is missing.
_Stamps = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Identity:
    """The files that a server proves itself with, and those it proves its clients with.

    Attributes:
        cert: PEM file of the certificate, with its chain.
        key: PEM file of its private key, without a passphrase.
        client_ca: PEM file of the authorities that sign clients; None asks clients for nothing.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


def server_context(identity: Identity) -> ssl.SSLContext:
    """Return a context for connections of TLS 1.2 and 1.3 that carry HTTP/1.1.

    Raises:
        SettingError: A file cannot be read or is not what it should be, or the key is another's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslsocket_class = _Accepted
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    _load_pair(context, identity)
    if identity.client_ca is not None:
        _load_client_ca(context, identity.client_ca)
    return context


class _Accepted(ssl.SSLSocket):
    """A connection that was accepted, whether or not its client has left since.

    What wraps a socket without a peer fails, and loses the socket unclosed.
    """

    def getpeername(self) -> Any:
        """Return the address of the client; an empty one if it has left."""
        try:
            return super().getpeername()
        except OSError:
            return ("", 0)


class Certificates:
    """The context of new connections, made again when its files change.

    A thread of its own looks at them, as a file system may take its time: connections are
    accepted meanwhile. Those that exist keep what they began with.
    """

    def __init__(self, identity: Identity) -> None:
        """Read the files.

        Raises:
            SettingError: As ``server_context``.
        """
        self._identity = identity
        self._seen = _stamps(identity)
        self._context = server_context(identity)
        self._failed: _Stamps | None = None
        self._is_told = False
        self._is_stopping = False
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def wrap(self, accepted: socket.socket) -> ssl.SSLSocket:
        """Return a TLS connection, its handshake still to come, over one that was accepted.

        A client that is gone already is found out by the handshake.
        """
        accepted.setblocking(False)
        return self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)

    def watch(self) -> None:
        """Look at the files every second, and when asked to, until ``stop``."""
        self._thread = threading.Thread(target=self._watch, name="fdss-certificates", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Have the files looked at now; returns at once, and what is broken is told."""
        self._woken.set()

    def stop(self) -> None:
        """End the looking; does not wait for a file system that does not answer."""
        self._is_stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(LOOK_S)

    def look(self, *, again: bool = False) -> None:
        """Take over files that have changed; ones that are broken are logged, once.

        A pair is replaced file by file. So one that does not fit is bad news only when it is
        still the same at the second look.

        Args:
            again: Whether this is the second look, whatever was found before.
        """
        stamps = _stamps(self._identity)
        if stamps == self._seen:
            self._failed = None
            return
        try:
            context = server_context(self._identity)
        except SettingError as error:
            self._fail(stamps, error, again or stamps == self._failed)
            return
        self._context, self._seen, self._failed = context, stamps, None
        logger.info("new connections get the certificate that is in %s now", self._identity.cert)

    def _fail(self, stamps: _Stamps, error: SettingError, is_sure: bool) -> None:
        if stamps != self._failed:
            self._failed, self._is_told = stamps, False
        if is_sure and not self._is_told:
            self._is_told = True
            logger.error("the former certificate stays: %s", error.message)

    def _watch(self) -> None:
        while not self._is_stopping:
            is_asked = self._woken.wait(LOOK_S)
            self._woken.clear()
            if not self._is_stopping:
                self.look(again=is_asked)


def _load_pair(context: ssl.SSLContext, identity: Identity) -> None:
    for path, kind in ((identity.cert, "certificate"), (identity.key, "private key")):
        _check_readable(path, kind)

    def refuse() -> str:
        raise SettingError(
            f"The TLS private key {str(identity.key)!r} has a passphrase, and nobody to ask.",
            hint="openssl pkey -in KEY -out PLAIN writes it without one; keep that file 0600",
        )

    try:
        context.load_cert_chain(identity.cert, identity.key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingError(
                f"The TLS private key {str(identity.key)!r} is not that of the certificate "
                f"{str(identity.cert)!r}.",
                hint="the certificate that belongs to the key comes first in its file",
            ) from error
        raise SettingError(
            f"{str(identity.cert)!r} and {str(identity.key)!r} are no TLS certificate and "
            f"private key in PEM: {_reason(error)}."
        ) from error
    except OSError as error:
        # They were there a moment ago.
        raise SettingError(
            f"{str(identity.cert)!r} and {str(identity.key)!r} cannot be read: {error.strerror}."
        ) from error


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    _check_readable(path, "client CA")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise SettingError(
            f"{str(path)!r} holds no TLS client CA in PEM: {_reason(error)}."
        ) from error
    except OSError as error:
        raise SettingError(
            f"The TLS client CA {str(path)!r} cannot be read: {error.strerror}."
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED


def _check_readable(path: Path, kind: str) -> None:
    try:
        with path.open("rb"):
            return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is no path"
        raise SettingError(f"The TLS {kind} {str(path)!r} cannot be read: {reason}.") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not understood").replace("_", " ").lower()


def _stamps(identity: Identity) -> _Stamps:
    files = (identity.cert, identity.key, identity.client_ca)
    return tuple(_stamp(path) for path in files if path is not None)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
