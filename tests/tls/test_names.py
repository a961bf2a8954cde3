"""The names of this machine, and those that people give."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from fdss.errors import SettingError
from fdss.tls.names import (
    MAX_FOUND,
    MAX_NAMES,
    Names,
    all_names,
    checked_names,
    first_of,
    lacking,
    local_names,
)


def test_loopback_is_always_among_the_names() -> None:
    """What is found begins with localhost, 127.0.0.1 and ::1, and has the machine's name."""
    found = local_names()

    assert found.hosts[0] == "localhost"
    assert found.ips[:2] == ("127.0.0.1", "::1")
    assert socket.gethostname().lower() in found.hosts
    assert len(found) <= MAX_FOUND


def test_addresses_are_those_others_can_use() -> None:
    """No found address is link-local or unspecified, and none stands twice."""
    found = [ipaddress.ip_address(ip) for ip in local_names().ips]

    assert not any(ip.is_link_local or ip.is_unspecified or ip.is_multicast for ip in found)
    assert len(set(found)) == len(found)


def test_of_many_addresses_the_first_are_taken() -> None:
    """What is found is cut after 32, the names kept, so that loopback is always in."""
    found = Names(("localhost", "a"), tuple(f"10.0.0.{number}" for number in range(100)))

    assert first_of(found) == Names(found.hosts, found.ips[:30])


@pytest.mark.only_on("linux")
def test_the_address_that_leads_elsewhere_is_found() -> None:
    """The address that this machine sends from is among them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))
        except OSError:
            pytest.skip("this machine has no way to other machines")
        own = probe.getsockname()[0]

    assert own in local_names().ips


def test_names_are_written_one_way() -> None:
    """Case, a dot at the end, international names, brackets and zeros make no difference."""
    given = checked_names(
        ["Data.Example.ORG.", "data.example.org", "*.lab", "grüße.example", "a_b"],
        ["[::1]", "0:0:0:0:0:0:0:1", "10.0.0.1"],
    )

    assert given.hosts == ("data.example.org", "*.lab", "xn--grsse-lva.example", "a_b")
    assert given.ips == ("::1", "10.0.0.1")


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "-a", "a-", "a..b", "10.0.0.1", "1.2", "a*b", "*", "*.*.b", "a\nb", "x" * 64]
    + ["a." * 127 + "a", "http://a", "a:80", "\ud800", "a\0"],
)
def test_what_is_no_host_name_is_refused(name: str) -> None:
    """A text that is no DNS name is a SettingError that shows it."""
    with pytest.raises(SettingError, match="is not a host name"):
        checked_names([name], [])


@pytest.mark.parametrize(
    "ip",
    ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "a", "10.0.0.0/8", "::g"]
    + ["0.0.0.0", "::", "fe80::1%eth0", "224.0.0.1"],
)
def test_what_is_no_address_is_refused(ip: str) -> None:
    """A text that is no address is a SettingError that shows it."""
    with pytest.raises(SettingError, match="is not an address"):
        checked_names([], [ip])


def test_a_certificate_carries_no_more_than_it_should() -> None:
    """More than 256 names are refused, given ones before any that are found."""
    hosts = tuple(f"h{number}.lab" for number in range(MAX_NAMES))

    with pytest.raises(SettingError, match="at most 256"):
        all_names(Names(hosts))
    assert all_names(Names(hosts[:100])).hosts[:101] == ("localhost", *hosts[:100])


def test_a_star_stands_for_one_label() -> None:
    """A name with a star covers hosts of its domain, neither the domain nor deeper ones."""
    carried = Names(("*.lab", "localhost"), ("10.0.0.1",))
    wanted = Names(("a.lab", "lab", "b.a.lab", "localhost"), ("10.0.0.1", "10.0.0.2"))

    assert lacking(carried, wanted) == Names(("lab", "b.a.lab"), ("10.0.0.2",))
