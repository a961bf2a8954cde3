"""What comes before the first row: connections, and the round trips of small requests."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from fdss.client.session import ServerSession
from fdss.hosts import unbracketed
from fdss.tls.trust import current_trust
from fdss.wire import names

CONNECT_TIMEOUT_S = 10.0
CONNECTIONS = 5
ROUND_TRIPS = 40
LEAST_ROUND_TRIPS = 5


@dataclass(frozen=True)
class Setup:
    """Seconds to be connected, one entry an attempt.

    Attributes:
        connect_s: TCP, from the first packet to the last.
        handshake_s: TLS on top of it; empty over plain HTTP.
    """

    connect_s: list[float] = field(default_factory=list)
    handshake_s: list[float] = field(default_factory=list)


def measured_setup(url: str, deadline_s: float) -> Setup:
    """Return how long connections take; nothing where only a proxy leads to the server."""
    parts, found = urlsplit(url), Setup()
    host, is_secure = unbracketed(parts.hostname or ""), parts.scheme == "https"
    place = host, parts.port or (443 if is_secure else 80)
    for _ in range(CONNECTIONS):
        begun_s = time.perf_counter()
        try:
            with socket.create_connection(place, CONNECT_TIMEOUT_S) as plain:
                connected_s = time.perf_counter()
                if is_secure:
                    with current_trust().context.wrap_socket(plain, server_hostname=host):
                        found.handshake_s.append(time.perf_counter() - connected_s)
                found.connect_s.append(connected_s - begun_s)
        except (OSError, ssl.CertificateError):
            return Setup()
        if time.monotonic() > deadline_s:
            break
    return found


def round_trips(session: ServerSession, deadline_s: float) -> list[float]:
    """Return the seconds of small requests over a connection that is kept."""
    session.get_json(names.HEALTH_PATH)
    found: list[float] = []
    while len(found) < ROUND_TRIPS:
        begun_s = time.perf_counter()
        session.get_json(names.HEALTH_PATH)
        found.append(time.perf_counter() - begun_s)
        if len(found) >= LEAST_ROUND_TRIPS and time.monotonic() > deadline_s:
            break
    return found
