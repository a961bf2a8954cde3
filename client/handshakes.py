"""Why there is no secure connection to a server, and what helps."""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fdss.tls.trust import (
    CERT_VARIABLE,
    KEY_VARIABLE,
    ROOTS_VARIABLE,
    client_certificate,
    examining_context,
    unverified_context,
)

EXAMINE_S = 5.0
MAX_NAMES = 8
MAX_NAME_CHARACTERS = 100

_RENEW = "run fdss tls renew on the server"

# Numbers of OpenSSL's X509_V_ERR_ constants.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED = 9, 10, 18
_UNKNOWN_ISSUER = frozenset({2, 19, 20, 21})
_WRONG_NAME = frozenset({62, 64})

_NOT_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL")
# What a server answers that takes plain HTTP for what it speaks. With 400, with a redirect to
# https and with errors of its own answers one, too, that speaks TLS, or something in front of it.
_SERVED = re.compile(rb"HTTP/1\.[01] (2[0-9]{2}|401|403|404|405)")
_SERVED_BYTES = 12
_TOO_OLD = re.compile("PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE")
_OURS = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|DECRYPT_ERROR)")


@dataclass(frozen=True)
class Fault:
    """What is wrong: the predicate of a sentence about the server, and what helps."""

    words: str
    hint: str


_SECURE = Fault("speaks https, and the URL says http", "write https:// in the URL")
_PLAIN = Fault(
    "does not speak TLS, but most likely plain HTTP",
    "turn TLS on there (fdss tls init); if the way there is safe, as a tunnel is,"
    " write http:// in the URL",
)


def tls_fault(url: str, error: ssl.SSLError, *, is_direct: bool) -> Fault | None:
    """Return what a failed handshake says about a server; None if trying again may help.

    Args:
        error: What the handshake, or the first reading behind it, ended with.
        is_direct: Whether a further connection may be made, to read the server's certificate.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_fault(url, error, is_direct)
    reason = _reason(error)
    if _NOT_TLS.search(reason):
        return _PLAIN
    if _TOO_OLD.search(reason):
        return Fault("does not speak TLS 1.2 or newer", "upgrade what speaks TLS there")
    return _own_certificate_fault(reason) if _OURS.search(reason) else None


def scheme_fault(url: str) -> Fault | None:
    """Return what is wrong with the scheme of a URL; None if nothing is, or nobody can tell.

    Of a server that is asked whether it speaks TLS or plain HTTP, nothing but that is asked.
    """
    if _speaks_tls(url):
        return None if url.startswith("https:") else _SECURE
    return _PLAIN if url.startswith("https:") and _speaks_http(url) else None


def _certificate_fault(url: str, error: ssl.SSLCertVerificationError, is_direct: bool) -> Fault:
    code = error.verify_code
    if code in _WRONG_NAME:
        return _name_fault(url, _examined(url) if is_direct else {})
    if code in (_NOT_YET_VALID, _EXPIRED):
        return _time_fault(_examined(url) if is_direct else {}, is_early=code == _NOT_YET_VALID)
    if code == _SELF_SIGNED:
        return Fault(
            "shows a self-signed certificate that this machine does not know",
            f"fdss tls init on the server makes one that an authority has signed; or name its"
            f" PEM file in {ROOTS_VARIABLE}",
        )
    if code in _UNKNOWN_ISSUER:
        return Fault(
            "shows a certificate of an authority that this machine does not know",
            "on the server, fdss tls export-ca prints its authority; here, fdss tls import-ca FILE",
        )
    return Fault(f"shows a bad certificate: {error.verify_message}", _RENEW)


def _name_fault(url: str, shown: dict[str, Any]) -> Fault:
    host = urlsplit(url).hostname or ""
    told = [_written(*name) for name in shown.get("subjectAltName", ())]
    names = [repr(name[:MAX_NAME_CHARACTERS]) for name in told]
    listed = ", ".join(names[:MAX_NAMES])
    if len(names) > MAX_NAMES:
        listed += f" and {len(names) - MAX_NAMES} more"
    flag = "--add-ip" if re.fullmatch(r"[0-9.]+|.*:.*", host) else "--add-hostname"
    return Fault(
        f"shows a certificate that is not for {host!r}, but for {listed or 'other names'}",
        "name the server in the URL as its certificate does, or on the server:"
        f" fdss tls renew {flag} {host}",
    )


def _written(kind: str, name: str) -> str:
    """Return a name of a certificate as people write it: OpenSSL shortens no address."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(name)) if kind == "IP Address" else name
    return name


def _time_fault(shown: dict[str, Any], *, is_early: bool) -> Fault:
    moment = shown.get("notBefore" if is_early else "notAfter")
    # The error does not say which certificate of the chain it is about.
    is_leaf = moment is None or (ssl.cert_time_to_seconds(moment) > time.time()) == is_early
    whose = "a certificate" if is_leaf else "a certificate of an authority"
    when = f" ({moment})" if moment and is_leaf else ""
    if is_early:
        return Fault(
            f"shows {whose} that is not valid yet{when}", "set the clocks of both machines"
        )
    authority = "run fdss tls renew --ca on the server, then fdss tls import-ca FILE here"
    return Fault(f"shows {whose} that has expired{when}", _RENEW if is_leaf else authority)


def _own_certificate_fault(reason: str) -> Fault:
    own = client_certificate()
    if own is not None:
        return Fault(
            f"does not accept the client certificate {own!r}",
            "it must be valid, and of an authority that the server's --tls-client-ca names",
        )
    is_vague = "HANDSHAKE_FAILURE" in reason
    return Fault(
        "refuses the handshake: it may want a client certificate"
        if is_vague
        else "wants a client certificate",
        f"name one in {CERT_VARIABLE} and its key in {KEY_VARIABLE}; fdss tls mint makes them",
    )


def _examined(url: str) -> dict[str, Any]:
    """Return the certificate a server shows; empty if it cannot be read. Nothing is sent."""
    try:
        return _shown_certificate(url, examining_context())
    except (OSError, ValueError):
        return {}


def _shown_certificate(url: str, context: ssl.SSLContext) -> dict[str, Any]:
    host = urlsplit(url).hostname
    with _connected(url) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        return dict(secure.getpeercert() or {})


def _speaks_tls(url: str) -> bool:
    try:
        _shown_certificate(url, unverified_context())
    except ssl.SSLError as error:
        return "ALERT" in _reason(error)
    except (OSError, ValueError):
        return False
    return True


def _speaks_http(url: str) -> bool:
    try:
        with _connected(url) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as answer:
                return _SERVED.match(answer.read(_SERVED_BYTES)) is not None
    except OSError:
        return False


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return socket.create_connection((parts.hostname or "", port), timeout=EXAMINE_S)


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).upper().replace(" ", "_")
