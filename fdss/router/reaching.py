"""By which address of this machine others reach a server that listens on it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

from fdss.bundles import Bundle
from fdss.hosts import is_loopback, url_of
from fdss.tls.names import local_names
from fdss.wire.names import HEALTH_PATH

from .asking import Asker, AskFailed, Json
from .membership import Member

#: Addresses of this machine that are tried, and how long each of them has to answer.
MOST_TRIED = 8
ANSWER_TIMEOUT_S = 3.0


def reached_from_outside(told: Bundle, health: Json, *, verify_tls: bool = True) -> Bundle:
    """Return the bundle of a server of this machine with an address at which it answers others.

    Where it answers at none, the bundle is the one given. No token is sent.

    Args:
        health: What the server says of itself, by which it is known again.
    """
    for host in islice(_outer_hosts(is_secure=told.scheme == "https"), MOST_TRIED):
        member = Member(url_of(host, told.port, told.scheme), verify_tls=verify_tls)
        with closing(Asker(member)) as asker:
            try:
                found = asker.get(HEALTH_PATH, ANSWER_TIMEOUT_S)
            except AskFailed:
                continue
        if _lasting(found) == _lasting(health):
            return replace(told, host=host)
    return told


def _lasting(health: Json) -> Json:
    """Return what of a server's health is the same each time it is asked."""
    return {key: value for key, value in health.items() if key != "load"}


def _outer_hosts(*, is_secure: bool) -> Iterator[str]:
    """Yield names and addresses of this machine: names last, but where certificates have them."""
    names = local_names()
    hosts = [host for host in names.hosts if _leads_outside(host)]
    ips = [ip for ip in names.ips if not is_loopback(ip)]
    yield from [*hosts, *ips] if is_secure else [*ips, *hosts]


def _leads_outside(host: str) -> bool:
    """Return whether a name of this machine stands for addresses that others may reach."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    # Debian gives the machine's own name to 127.0.1.1.
    return not any(is_loopback(str(place[0]).partition("%")[0]) for *_, place in found)
