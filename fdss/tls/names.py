"""The names and addresses of this machine, and those that a certificate may carry."""

from __future__ import annotations

import array
import ipaddress
import re
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fdss.errors import SettingError

MAX_FOUND = 32
MAX_NAMES = 256

LOOPBACK_NAMES = ("localhost",)
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")

_NAME = re.compile(
    r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
)

# Addresses that are never sent to: connecting a datagram socket only asks the routing table.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))

_SIOCGIFCONF = 0x8912
_IFREQ_BYTES = 40


@dataclass(frozen=True)
class Names:
    """Names and addresses, each once, written one way.

    Attributes:
        hosts: DNS names in lower case, international ones in their ASCII form.
        ips: Addresses as ``ipaddress`` writes them.
    """

    hosts: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return how many names and addresses there are."""
        return len(self.hosts) + len(self.ips)

    def __or__(self, other: Names) -> Names:
        """Return these, then those of the other that are new."""
        return Names(
            tuple(dict.fromkeys(self.hosts + other.hosts)),
            tuple(dict.fromkeys(self.ips + other.ips)),
        )


LOOPBACK = Names(LOOPBACK_NAMES, LOOPBACK_ADDRESSES)


def checked_names(hosts: Iterable[str], ips: Iterable[str]) -> Names:
    """Return names and addresses that people gave, written one way.

    Raises:
        SettingError: One is not a DNS name or not an address.
    """
    return Names() | Names(tuple(map(_host, hosts)), tuple(map(_ip, ips)))


def is_address(text: str) -> bool:
    """Return whether a text is an address of a machine, and not a name."""
    with suppress(SettingError):
        return bool(_ip(text))
    return False


def all_names(given: Names) -> Names:
    """Return what the certificate of this machine carries: what was given, and what is found.

    Raises:
        SettingError: They are more than a certificate should carry.
    """
    return capped(LOOPBACK | given | local_names())


def capped(names: Names) -> Names:
    """Return the same names and addresses.

    Raises:
        SettingError: They are more than a certificate should carry.
    """
    if len(names) > MAX_NAMES:
        raise SettingError(
            f"A certificate carries at most {MAX_NAMES} names and addresses, asked for "
            f"{len(names)}.",
            hint="a name like *.example.org stands for all hosts of that domain",
        )
    return names


def local_names() -> Names:
    """Return the names and addresses of this machine, the loopback ones first, 32 at most."""
    hosts = LOOPBACK_NAMES + tuple(_found_hosts())
    return first_of(LOOPBACK | Names(hosts, tuple(_found_ips())))


def first_of(found: Names) -> Names:
    """Return all names and as many addresses that they are 32 together."""
    return Names(found.hosts, found.ips[: MAX_FOUND - len(found.hosts)])


def machine_name() -> str:
    """Return the name of this machine as it stands in the title of a certificate."""
    return next((name for name in _found_hosts() if name != "localhost"), "localhost")


def lacking(carried: Names, wanted: Names) -> Names:
    """Return which of the wanted names and addresses a certificate that carries others lacks."""
    return Names(
        tuple(name for name in wanted.hosts if not _is_carried(name, carried.hosts)),
        tuple(ip for ip in wanted.ips if ip not in carried.ips),
    )


def _is_carried(name: str, carried: tuple[str, ...]) -> bool:
    # A star stands for exactly one label (RFC 6125, 6.4.3).
    return name in carried or ("." in name and f"*.{name.partition('.')[2]}" in carried)


def _host(text: str) -> str:
    name = text.strip().rstrip(".").lower()
    with suppress(UnicodeError):
        name = name if name.isascii() else name.encode("idna").decode("ascii")
    if len(name) > 253 or not _NAME.fullmatch(name) or name.replace(".", "").isdigit():
        raise SettingError(
            f"{text!r} is not a host name.",
            hint="names are given as --hostname data.example.org, addresses as --ip 10.0.0.5",
        )
    return name


def _ip(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip().strip("[]"))
    except ValueError:
        address = None
    # A zone (fe80::1%eth0) means something on one machine only, and nobody is at 0.0.0.0.
    if address is None or "%" in str(address) or address.is_unspecified or address.is_multicast:
        raise SettingError(
            f"{text!r} is not an address of a machine.",
            hint="addresses are given as --ip 10.0.0.5, names as --hostname data.example.org",
        )
    return str(address)


def _found_hosts() -> Iterator[str]:
    name = socket.gethostname()
    for spelled in (name, socket.getfqdn(), name.partition(".")[0]):
        with suppress(SettingError):
            yield _host(spelled)


def _found_ips() -> Iterator[str]:
    """Yield the addresses others can reach this machine by; those that lead elsewhere first."""
    for text in (*_routed_ips(), *_resolved_ips(), *_listed_ips()):
        address = ipaddress.ip_address(text.partition("%")[0])
        if not (address.is_loopback or address.is_link_local or address.is_unspecified):
            yield str(address)


def _routed_ips() -> Iterator[str]:
    for family, elsewhere in _ELSEWHERE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            yield str(probe.getsockname()[0])


def _resolved_ips() -> Iterator[str]:
    with suppress(OSError, UnicodeError):
        for *_, address in socket.getaddrinfo(socket.gethostname(), None):
            yield str(address[0])


def _listed_ips() -> Iterator[str]:
    """Yield the addresses of the interfaces, where there is a list of them: on Linux."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            yield str(ipaddress.IPv6Address(int(line[:32], 16)))
    yield from _interface_ips4()


def _interface_ips4() -> list[str]:
    # SIOCGIFCONF of netdevice(7) fills an array of struct ifreq: a name of 16 bytes, then a
    # sockaddr_in, whose address is at 4.
    if sys.platform != "linux" or sys.maxsize < 2**32:
        return []
    import fcntl

    room = array.array("B", bytes(_IFREQ_BYTES * 256))
    request = struct.pack("iL", len(room), room.buffer_info()[0])
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        (filled,) = struct.unpack_from("i", fcntl.ioctl(probe, _SIOCGIFCONF, request))
        starts = range(20, filled, _IFREQ_BYTES)
        return [str(ipaddress.IPv4Address(room[at : at + 4].tobytes())) for at in starts]
    return []
