"""Membership by mDNS: servers of one subnet announce themselves, and routers listen.

The service type is ``_forgather._tcp``; the TXT record names the cluster, the server and its URL.
Anybody on the subnet reads it, and anybody can write one, so it never holds a token.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import ifaddr
from zeroconf import (
    InterfaceChoice,
    ServiceBrowser,
    ServiceInfo,
    ServiceListener,
    Zeroconf,
)

from fdss import __version__
from fdss.errors import SettingError

from .membership import Member, member_from_json
from .names import MDNS

SERVICE_TYPE = "_forgather._tcp.local."
ROLE = "dataset_server"
POLL_S = 0.5
#: How often an announcement that could not be made is tried again.
RETRY_S = 10.0
ANSWER_MS = 3000
#: Each gets threads of its own, and anybody on the subnet can announce one.
MOST_MEMBERS = 256
#: Interfaces of containers, bridges and tunnels: other hosts seldom reach their addresses.
VIRTUAL = ("docker", "br-", "veth", "tun", "tap", "wg", "virbr", "cni", "flannel")

logger = logging.getLogger(__name__)


class MdnsMembership:
    """The servers that announce themselves on the subnet as parts of a cluster."""

    every_s = POLL_S

    def __init__(self, cluster: str, interfaces: Sequence[str] = ()) -> None:
        """Start listening.

        Args:
            interfaces: Addresses of the interfaces to listen on; empty for all.

        Raises:
            SettingError: There is no interface to listen on.
        """
        self._zeroconf = _zeroconf(interfaces)
        self._listener = _Listener(cluster)
        self._browser = ServiceBrowser(self._zeroconf, SERVICE_TYPE, listener=self._listener)

    def members(self) -> list[Member]:
        """Return the servers heard of, until they say goodbye or their records expire."""
        return self._listener.members()

    def close(self) -> None:
        """Stop listening."""
        self._browser.cancel()
        _close(self._zeroconf)


class MdnsPresence:
    """The announcement of one server."""

    every_s = RETRY_S

    def __init__(self, cluster: str, member: Member, interfaces: Sequence[str] = ()) -> None:
        """Describe the server; nothing is sent yet.

        Args:
            interfaces: Addresses of the interfaces to announce on; empty for all.
        """
        self._interfaces = interfaces
        self._info = service_info(cluster, member, interfaces)
        self._zeroconf: Zeroconf | None = None

    def show(self) -> None:
        """Announce the server, once; from then on questions of others are answered.

        Raises:
            OSError: The network does not let it.
        """
        if self._zeroconf is None:
            try:
                fresh = _zeroconf(self._interfaces)
            except SettingError as error:
                raise OSError(error.message) from error
            try:
                fresh.register_service(self._info, allow_name_change=False)
            except BaseException:
                _close(fresh)
                raise
            self._zeroconf = fresh

    def close(self) -> None:
        """Say goodbye."""
        if self._zeroconf is not None:
            self._zeroconf.unregister_all_services()
            _close(self._zeroconf)
            self._zeroconf = None


def service_info(cluster: str, member: Member, interfaces: Sequence[str] = ()) -> ServiceInfo:
    """Return what is announced of a server: where it is and its cluster, never its token."""
    parts = urlsplit(member.base_url)
    is_tls = parts.scheme == "https"
    properties = {
        "cluster": cluster,
        "node_id": member.server_id,
        "version": __version__,
        "hostname": socket.gethostname(),
        "role": ROLE,
        "url": member.base_url,
        **({"tls": "1"} if is_tls else {}),
    }
    return ServiceInfo(
        SERVICE_TYPE,
        f"{member.server_id}.{SERVICE_TYPE}",
        port=parts.port or (443 if is_tls else 80),
        properties=properties,
        server=f"fdss-{member.server_id}.local.",
        parsed_addresses=_addresses_of(parts.hostname or "")
        or list(interfaces)
        or outer_addresses(),
    )


def outer_addresses() -> list[str]:
    """Return this machine's IPv4 addresses that others may reach; 127.0.0.1 if it has none."""
    found = [
        str(ip.ip)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv4 and not adapter.nice_name.startswith(VIRTUAL)
    ]
    outer = [text for text in found if not _stays_here(text)]
    return outer or ["127.0.0.1"]


def _stays_here(text: str) -> bool:
    address = ip_address(text)
    return address.is_loopback or address.is_link_local


def _addresses_of(host: str) -> list[str]:
    try:
        return [str(ip_address(host))]
    except ValueError:
        return []


class _Listener(ServiceListener):
    """Keeps the servers of one cluster by the names of their announcements."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._found: dict[str, Member] = {}

    def members(self) -> list[Member]:
        with self._lock:
            return list(self._found.values())

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = ServiceInfo(type_, name)
        if not info.request(zc, ANSWER_MS):
            return
        member = _member(info, self._cluster)
        with self._lock:
            if member is None:
                self._found.pop(name, None)
            elif name in self._found or len(self._found) < MOST_MEMBERS:
                self._found[name] = member

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        with self._lock:
            self._found.pop(name, None)


def _member(info: ServiceInfo, cluster: str) -> Member | None:
    told = info.decoded_properties
    if told.get("cluster") != cluster or told.get("role") != ROLE:
        return None
    host = told.get("hostname")
    entry = {"base_url": told.get("url") or "", "label": host, "hostname": host}
    try:
        return member_from_json(entry, MDNS)
    except SettingError as error:
        logger.warning("an announcement by mDNS is ignored: %s", error.message)
        return None


def _zeroconf(interfaces: Iterable[str]) -> Zeroconf:
    named = list(interfaces)
    try:
        return Zeroconf(interfaces=named or InterfaceChoice.All)
    except (OSError, RuntimeError) as error:
        raise SettingError(
            f"mDNS has no network to use: {error}",
            hint="choose another membership, or name an address of an interface",
        ) from error


def _close(ended: Zeroconf) -> None:
    loop = ended.loop
    ended.close()
    # Its thread has ended, and would leave the files of its loop to the garbage collector.
    if loop is not None and not loop.is_running():
        loop.close()
