"""What a router counts and tells of its cluster, and whether it is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from clusters import Client, Peer, eventually
from scraping import Scrape, scraped, settled

from fdss.metrics.families import Kind
from fdss.router.membership import Member
from fdss.router.metrics import DEPARTED, HEALTHY, UNHEALTHY, UNKNOWN, vitals_of
from fdss.router.names import SERVERS_PATH, proxy_path
from fdss.wire.names import HEALTH_PATH, HUB_CACHE_PATH, ROUTER_RESOLVE_PATH

Route = Callable[..., Client]
MakePeer = Callable[..., Peer]


def _scraped(client: Client) -> Scrape:
    return scraped(client.router.url, client.router.token)


def _eventually(client: Client, name: str, value: float, **labels: str) -> Scrape:
    """Return the first scrape in which numbers have a sum."""
    return settled(lambda: _scraped(client), (value, name, labels))


def test_every_metric_of_the_table_is_told(route: Route, peer: MakePeer) -> None:
    """Each line of the table is in the answer, as the kind that it says, and nothing else is."""
    peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(1))
    assert client.resolve("a/b").ok
    seen = _eventually(client, "fdss_router_resolves_total", 1, outcome="resolved")
    meter = vitals_of(client.router._listener.application).meter
    told = {
        family.name: "gauge" if family.kind is Kind.LIVE else family.kind.value
        for family in meter.board.families
    }

    assert told.pop("fdss_router_certificate_expiry_timestamp_seconds")
    assert seen.kinds == told


def test_resolves_are_told_by_what_became_of_them(route: Route, peer: MakePeer) -> None:
    """A server, nobody, a mistake: each is an outcome; who does not get in is none."""
    peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(1))
    for _ in range(3):
        assert client.resolve("a/b").status_code == 200
    assert client.resolve("nobody/has-this").status_code == 410
    assert client.resolve("a/b", name="\x00").status_code == 400
    assert requests.get(client.router.url + ROUTER_RESOLVE_PATH, timeout=60).status_code == 401
    name = "fdss_router_resolves_total"
    # An answer may be counted after whoever asked has it, and each counter at its own time.
    _eventually(client, name, 5)
    _eventually(client, "fdss_router_refusals_total", 1, code="nobody-serves")
    seen = _eventually(client, "fdss_router_failed_authentications_total", 1, token="missing")

    assert seen.sum(name, outcome="resolved") == 3
    assert seen.sum(name, outcome="nobody-serves") == 1
    assert seen.sum(name, outcome="bad-parameter") == 1
    assert seen.sum("fdss_router_refusals_total", code="nobody-serves") == 1
    assert seen.sum("fdss_router_failed_authentications_total", token="missing") == 1
    assert "nobody/has-this" not in seen.text


def test_servers_are_told_by_health(route: Route, peer: MakePeer) -> None:
    """One that goes down is told as unhealthy, and the age of its last health grows."""
    sound, lost = peer(cached=("a/b",)), peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(2))
    seen = _eventually(client, "fdss_router_servers", 2, health=HEALTHY)
    assert seen.sum("fdss_router_membership_reachable") == 1
    assert 0 <= seen.sum("fdss_router_oldest_health_seconds") < 600
    lost.answers[HEALTH_PATH] = 500
    seen = _eventually(client, "fdss_router_servers", 1, health=UNHEALTHY)

    assert seen.sum("fdss_router_servers", health=HEALTHY) == 1
    assert seen.labels("fdss_router_servers", "health") == {HEALTHY, UNHEALTHY, UNKNOWN, DEPARTED}
    before_s = seen.sum("fdss_router_oldest_health_seconds")
    eventually(lambda: _scraped(client).sum("fdss_router_oldest_health_seconds") > before_s + 0.5)
    for text in (sound.url, lost.url, Member(sound.url).server_id):
        assert text not in seen.text


def test_proxied_bytes_are_counted(route: Route, peer: MakePeer) -> None:
    """What a server answers to somebody's question counts; the router's own questions do not."""
    sound = peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(1))
    assert _scraped(client).sum("fdss_router_proxied_bytes_total") == 0
    answer = client.get(proxy_path(Member(sound.url).server_id, "health"))
    assert answer.ok

    assert _scraped(client).sum("fdss_router_proxied_bytes_total") > 20
    # A request is counted once its answer is sent, which the client may see first.
    _eventually(
        client, "fdss_router_requests_total", 1, endpoint=proxy_path("{server_id}", "{question}")
    )


def test_a_failed_gateway_is_a_refusal_of_its_own(route: Route, peer: MakePeer) -> None:
    """A server that does not answer as it should is no error of the router."""
    lost = peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(1))
    lost.answers[HEALTH_PATH] = 500
    answer = client.get(proxy_path(Member(lost.url).server_id, "health"))

    assert answer.status_code == 502
    _eventually(client, "fdss_router_refusals_total", 1, code="bad-gateway")


def test_a_router_without_a_server_is_ready(route: Route) -> None:
    """Once it knows that nobody belongs, it waits for nobody, and can be given its first server."""
    client = route()
    eventually(lambda: client.get("/v1/ready").status_code == 200)

    assert _scraped(client).sum("fdss_router_ready") == 1


def test_a_router_is_ready_when_it_is_warm(route: Route, peer: MakePeer) -> None:
    """Before a server has told what it offers, the answer is 503 with the reason."""
    peer(cached=("a/b",)).answers[HUB_CACHE_PATH] = 500
    client = route()
    eventually(lambda: client.router.router.knowledge.servers())
    cold = client.get("/v1/ready")
    assert cold.status_code == 503
    assert cold.headers["Retry-After"]
    assert cold.json()["checks"]["warm"]["reason"] == "no server has told what it offers yet"
    assert _scraped(client).sum("fdss_router_ready") == 0


def test_a_warm_router_is_ready(route: Route, peer: MakePeer) -> None:
    """All checks are told, and the metric says the same."""
    peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.get("/v1/ready").status_code == 200)
    told: dict[str, Any] = client.get("/v1/ready").json()

    assert told["ready"]
    assert set(told["checks"]) == {"warm", "membership", "running"}
    assert _scraped(client).sum("fdss_router_ready") == 1


@pytest.mark.parametrize("path", ["/metrics", "/v1/ready", SERVERS_PATH])
def test_programs_need_the_token(route: Route, path: str) -> None:
    """Neither is a page that a browser's cookie would open, nor open to all."""
    client = route()

    assert requests.get(client.router.url + path, timeout=60).status_code == 401
