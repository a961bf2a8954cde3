"""Which requests a page of another site has made, in the browser of somebody who may reach us.

A page may send its visitor's browser anywhere, and, once its own name has been made to lead to
this machine, read what comes back (DNS rebinding). A token stops both: the page does not have it.
A server without tokens looks at what browsers send. Hardly a program sends any of it, so neither
curl nor a proxy nor a tunnel under any name and port is concerned.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import cache
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from fdss.errors import CrossSiteRefused
from fdss.hosts import unbracketed

#: What browsers send with every request, and pages cannot keep them from sending. To plain HTTP
#: under a public name they send no Sec-Fetch-…, and a page may choose the value of
#: Accept-Language: so any value of it counts, also the ``*`` of programs that run on Node.
BROWSER_HEADERS = ("Accept-Language", "Origin", "Referer", "Sec-Fetch-Mode", "Sec-Fetch-Site")
#: Who asks: the server's own pages, or somebody who typed the address.
OWN_SITES = ("same-origin", "none")
#: Endings of names that nobody can have in the public DNS (RFC 6761, 6762, 8375, ICANN 2024).
PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".home.arpa")


def check_site(headers: Headers) -> None:
    """Let pass what no page of another site can have sent.

    Raises:
        CrossSiteRefused: A browser asks for another site's page, or under a name that anybody
            may have made to lead here.
    """
    if not any(name in headers for name in BROWSER_HEADERS):
        return
    check_origin(headers)
    host = headers.get("Host", "")
    if not is_own_name(_name_in(host)):
        raise CrossSiteRefused(
            f"A browser asks for {host[:80]!r}, a name that another site may have."
        )


def check_origin(headers: Headers) -> None:
    """Let pass what no page under another name than the one that is asked for has sent.

    Raises:
        CrossSiteRefused: The browser says that one has.
    """
    site = headers.get("Sec-Fetch-Site", "none")
    origin, host = headers.get("Origin"), headers.get("Host", "")
    if site not in OWN_SITES or (origin is not None and _host_of_origin(origin) != host.lower()):
        raise CrossSiteRefused("A page of another site must not ask this server.")


def is_own_name(name: str) -> bool:
    """Return whether a host name cannot lead here by the doing of another site.

    These are addresses, this machine's name, and what no public name can be.
    """
    try:
        ipaddress.ip_address(unbracketed(name))
    except ValueError:
        bare = name.rstrip(".").lower()
        return "." not in bare or bare.endswith(PRIVATE_ENDINGS) or bare == _this_machine()
    return True


@cache
def _this_machine() -> str:
    return socket.gethostname().lower()


def _name_in(host: str) -> str:
    """Return the name in ``name:port``."""
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _host_of_origin(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
