"""Membership by mDNS over the loopback interface: who is heard, who is believed, what is told."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator

import pytest
from clusters import eventually

from fdss.errors import SettingError
from fdss.router.announcing import announce, announced_url
from fdss.router.asking import token_of
from fdss.router.collecting import Trust
from fdss.router.mdns import MdnsMembership, outer_addresses, service_info
from fdss.router.membership import Member
from fdss.router.router import Router

LOOPBACK = ("127.0.0.1",)
#: Other processes hear what is announced here, and may run the same tests: all is this one's own.
CLUSTER = f"rack-{os.getpid()}"
PORT = 2_000 + os.getpid() % 30_000
URL, OTHER_URL = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{PORT + 30_000}"


@pytest.fixture
def membership() -> Iterator[MdnsMembership]:
    """Listen on the loopback interface."""
    try:
        listening = MdnsMembership(CLUSTER, LOOPBACK)
    except SettingError as error:
        pytest.skip(f"mDNS cannot be used here: {error.message}")
    with contextlib.closing(listening):
        yield listening


def test_announced_server_is_heard_until_it_says_goodbye(membership: MdnsMembership) -> None:
    """A server of the cluster is a member from its announcement to its goodbye."""
    with announce("mdns", CLUSTER, Member(URL, "secret"), LOOPBACK):
        eventually(lambda: [member.base_url for member in membership.members()] == [URL])
        (heard,) = membership.members()

        assert (heard.auth_token, heard.source) == ("", "mdns")
    eventually(lambda: membership.members() == [])


def test_other_clusters_are_not_heard(membership: MdnsMembership) -> None:
    """Of two servers on the subnet only the one of this cluster is a member."""
    other = Member(OTHER_URL)
    with (
        announce("mdns", f"other-{CLUSTER}", other, LOOPBACK),
        announce("mdns", CLUSTER, Member(URL), LOOPBACK),
    ):
        eventually(lambda: membership.members())

        assert [member.base_url for member in membership.members()] == [URL]


def test_announcement_holds_no_token() -> None:
    """What is sent over the network has cluster, id and URL, and no token."""
    info = service_info(CLUSTER, Member("https://10.1.2.3:8766", "secret-token"))

    told = info.decoded_properties
    assert told["cluster"] == CLUSTER
    assert told["url"] == "https://10.1.2.3:8766"
    assert told["tls"] == "1"
    assert info.parsed_addresses() == ["10.1.2.3"]
    assert b"secret-token" not in info.text


@pytest.mark.parametrize(("insecure", "believed"), [(False, []), (True, ["http://10.1.2.3:1"])])
def test_announcement_without_tls_is_not_believed(
    insecure: bool, believed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Over plain HTTP anybody could pose as a server: it is ignored, unless insecure is set."""
    member = Member("http://10.1.2.3:1", source="mdns")

    with caplog.at_level(logging.WARNING):
        found = _members(Trust(insecure=insecure), [member])

    assert [server.base_url for server in found] == believed
    assert ("ignored: it has no TLS" in caplog.text) is not insecure


@pytest.mark.parametrize(
    ("hostname", "count"), [("", 1), (socket.gethostname(), 1), ("another-machine", 0)]
)
def test_loopback_address_of_another_machine_is_ignored(hostname: str, count: int) -> None:
    """A server on another machine that tells a loopback address is no server of this one."""
    member = Member(URL, source="redis", hostname=hostname)

    assert len(_members(Trust(), [member])) == count


def test_shared_token_is_kept_for_servers_that_prove_themselves() -> None:
    """The servers' common token goes to checked https servers and to this machine only."""
    members = [
        Member("https://host.example:1", source="mdns"),
        Member("https://unchecked.example:1", verify_tls=False, source="registry"),
        Member("http://plain.example:1", source="registry"),
        Member("https://own.example:1", "own", source="redis"),
    ]

    found = _members(Trust(shared_token="shared"), members)

    assert {member.base_url.split("/")[2]: token_of(member) for member in found} == {
        "host.example:1": "shared",
        "unchecked.example:1": "",
        "plain.example:1": "",
        "own.example:1": "own",
    }


def test_registry_gives_an_announced_server_its_token() -> None:
    """A server that the registry names too is sent the token that stands there."""
    url = "https://host.example:1"

    (found,) = _members(
        Trust(), [Member(url, "secret", source="registry")], [Member(url, source="mdns")]
    )

    assert token_of(found) == "secret"


def test_wildcard_host_is_announced_by_an_address() -> None:
    """A server that listens everywhere is announced with an address of this machine."""
    assert announced_url("0.0.0.0", 1, "https") == f"https://{outer_addresses()[0]}:1"
    assert announced_url("host.example", 1) == "http://host.example:1"


def test_membership_that_is_none_is_refused() -> None:
    """A server announces itself by mDNS or in Redis, nowhere else."""
    with pytest.raises(SettingError, match="registry"):
        announce("registry", CLUSTER, Member(URL))


class _Fixed:
    """A membership that never changes."""

    every_s = 0.05

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    def members(self) -> list[Member]:
        return self._members

    def close(self) -> None:
        pass


def _members(trust: Trust, *lists: list[Member]) -> list[Member]:
    with Router([_Fixed(members) for members in lists], trust) as router:
        eventually(lambda: router.inventory()["last_servers_collect_ts"])
        return [server.member for server in router.knowledge.servers()]
