"""Routers with pages, dataset servers and scripted peers, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsers import browser as browser, visit as visit
from clusters import FAST
from starting import peer as peer, route as route, serve as serve
from visitors import Visitor, visitor

from fdss.router.names import registry_file
from fdss.router.registry import Registry, RegistryMembership
from fdss.router.router import Router


@pytest.fixture
def router(home: object) -> Iterator[Router]:
    """Return a router of the servers in the registry."""
    memberships = [RegistryMembership(Registry(registry_file()))]
    with Router(memberships, rhythm=FAST, is_guarded=True) as router:
        yield router


@pytest.fixture
def guest(router: Router) -> Visitor:
    """Return somebody who has logged in."""
    guest = visitor(router)
    guest.log_in()
    return guest
