"""What a job asks a cluster's router, and which of its servers it reads from."""

from __future__ import annotations

import json
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import RawServer, Request, StartServer, response

from fdss import places, tokens
from fdss.arguments import LoadArguments
from fdss.client import ResilientRemoteBackend, fast_load_iterable_dataset
from fdss.client.cluster import RouterSession
from fdss.client.finding import ClusterRouter, Found
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.patience import Patience
from fdss.errors import (
    AuthenticationRequired,
    ContentChanged,
    DatasetDamaged,
    Forbidden,
    NobodyServes,
    OutageTooLong,
    PageForeign,
    SettingError,
)

QUICK = Patience(first_s=0.01, longest_s=0.05)
PATH = "/api/cluster/dataset_router/resolve"
Json = dict[str, Any]


def loaded(fingerprint: str = "f") -> Json:
    """Return what a server answers to a load."""
    features = {"n": {"dtype": "int64", "_type": "Value"}}
    return {
        "handle": "h",
        "length": 3,
        "fingerprint": fingerprint * 64,
        "column_names": ["n"],
        "features": features,
    }


def answering(*answers: tuple[str, Json]) -> Callable[[Request, socket.socket], None]:
    """Return what a server does that gives some answers, and then the last again and again."""
    left = list(answers)

    def respond(request: Request, connection: socket.socket) -> None:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        headers = {"Retry-After": "0"} if status.startswith("503") else None
        connection.sendall(response(json.dumps(body).encode(), status=status, headers=headers))

    return respond


def resolved(server: RawServer, server_id: str) -> tuple[str, Json]:
    """Return the router's answer that names a server."""
    return "200 OK", {"base_url": server.url, "auth_token": "t", "server_id": server_id}


@pytest.fixture
def router(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RawServer]:
    """Return a call that starts a router with its answers, and names it in the environment."""

    def start(*answers: tuple[str, Json]) -> RawServer:
        server = start_server(answering(*answers))
        monkeypatch.setenv("FORGATHER_SERVER_URL", server.url)
        monkeypatch.setenv("FORGATHER_SERVER_TOKEN", "the-routers")
        return server

    return start


def clustered(arguments: LoadArguments | None = None) -> ResilientRemoteBackend:
    """Return a backend of the environment's cluster."""
    finder = ClusterRouter(RouterSession())
    return ResilientRemoteBackend(arguments or LoadArguments("local/rows"), finder, patience=QUICK)


UNAVAILABLE = ("503 No", {"error": "warming up", "code": "unavailable", "hint": ""})
NOBODY = ("410 Gone", {"error": "nobody has it", "code": "nobody-serves", "hint": ""})


def test_auto_asks_the_router_when_the_length_is_needed(
    start_server: StartServer, router: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``auto`` nothing is sent before the first ``len``; then the router is asked."""
    server = start_server(answering(("200 OK", loaded())))
    asked = router(resolved(server, "one"))
    monkeypatch.setenv(SERVER_VARIABLE, " AUTO ")
    dataset = fast_load_iterable_dataset("local/rows", "config", split="train[:3]", revision="v1")
    assert "local/rows" in repr(dataset)
    assert asked.requests == server.requests == []

    assert len(dataset) == 3
    assert asked.requests[0].path == PATH
    assert asked.requests[0].query == {
        "path": "local/rows",
        "name": "config",
        "split": "train[:3]",
        "revision": "v1",
    }
    assert asked.requests[0].headers["authorization"] == "Bearer the-routers"
    assert server.requests[0].headers["authorization"] == "Bearer t"


def test_a_router_without_a_port_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that is down at the start is tried again, for as long as the cap allows."""
    monkeypatch.setenv("FORGATHER_SERVER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS", "0.2")
    monkeypatch.setenv(SERVER_VARIABLE, "auto")
    dataset = fast_load_iterable_dataset("local/rows")
    with pytest.raises(OutageTooLong, match=r"127\.0\.0\.1:1"):
        len(dataset)


def test_a_router_that_warms_up_is_waited_for(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A router that does not know yet is asked again."""
    server = start_server(answering(("200 OK", loaded())))
    asked = router(UNAVAILABLE, UNAVAILABLE, resolved(server, "one"))

    assert len(clustered()) == 3
    assert len(asked.requests) == 3


def test_nobody_serves_it_is_the_last_word(router: Callable[..., RawServer]) -> None:
    """What nobody in a healthy cluster has fails at once, in the router's words."""
    asked = router(NOBODY)
    with pytest.raises(NobodyServes, match="nobody has it"):
        len(clustered())

    assert len(asked.requests) == 1


def test_a_router_that_refuses_is_the_last_word(router: Callable[..., RawServer]) -> None:
    """A token that the router refuses is raised, with the variable that helps."""
    router(("401 No", {"error": "who?", "code": "authentication-required", "hint": ""}))
    with pytest.raises(AuthenticationRequired) as caught:
        len(clustered())

    assert "FORGATHER_SERVER_TOKEN" in caught.value.hint


def test_a_lost_server_is_excluded(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A server that cannot be reached is named to the router, and another is read from."""
    down = RawServer("http://127.0.0.1:1", lambda request, connection: None)
    up = start_server(answering(("200 OK", loaded())))
    asked = router(resolved(down, "down"), resolved(up, "up"))

    assert len(clustered()) == 3
    assert [request.query.get("exclude") for request in asked.requests] == [None, "down"]


def test_when_all_are_excluded_the_excluded_are_tried(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """Where the only server failed a moment ago, it is asked again."""
    busy: tuple[str, Json] = ("502 Bad", {})
    server = start_server(answering(busy, ("200 OK", loaded())))
    asked = router(resolved(server, "one"), UNAVAILABLE, resolved(server, "one"))

    assert len(clustered()) == 3
    assert [request.query.get("exclude") for request in asked.requests] == [None, "one", None]


def test_other_content_is_refused_for_good(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A replica with other content is never read from; if there is no other, that is the error."""
    server = start_server(answering(("200 OK", loaded("a")), ("502 Bad", {}), ("200 OK", loaded())))
    other = start_server(answering(("200 OK", loaded("b"))))
    asked = router(
        resolved(server, "one"),
        resolved(other, "two"),
        UNAVAILABLE,
        UNAVAILABLE,
        resolved(other, "two"),
    )
    backend = clustered()
    assert backend.fingerprint == "a" * 64
    backend._present = None
    with pytest.raises(ContentChanged, match="local/rows"):
        len(backend)

    assert asked.requests[1].query["fingerprint"] == "a" * 64
    assert asked.requests[2].query["exclude"] == "two"


def test_a_damaged_replica_leads_to_another(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A replica that fails on its files is left for one that does not."""
    damaged = start_server(
        answering(("500 No", {"error": "bits", "code": "dataset-damaged", "hint": ""}))
    )
    sound = start_server(answering(("200 OK", loaded())))
    router(resolved(damaged, "one"), resolved(sound, "two"))

    assert len(clustered()) == 3


def test_when_every_replica_refuses_its_refusal_is_raised(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """Where the only replica refuses, its own message is what the job ends with."""
    forbidden = ("403 No", {"error": "not you", "code": "forbidden", "hint": ""})
    server = start_server(answering(forbidden))
    router(resolved(server, "one"))
    with pytest.raises(Forbidden, match="not you"):
        len(clustered())

    assert len(server.requests) == 1


def test_a_router_that_is_none_is_told(router: Callable[..., RawServer]) -> None:
    """An answer without an address is no router's."""
    router(("200 OK", {"hello": "world"}))
    with pytest.raises(PageForeign, match="base_url"):
        len(clustered())


def test_the_routers_own_token_is_found(
    monkeypatch: pytest.MonkeyPatch, start_server: StartServer
) -> None:
    """On this machine the router's token comes from its file; a dataset server's never does."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER_TOKEN", "a-dataset-servers")
    asked = start_server(answering(NOBODY))
    tokens.keep(places.router_token_file(), "kept")
    with pytest.raises(NobodyServes):
        RouterSession(asked.url).get_json(PATH)
    places.router_token_file().unlink()
    with pytest.raises(NobodyServes):
        RouterSession(asked.url).get_json(PATH)
    monkeypatch.setenv("FORGATHER_SERVER_TOKEN", "not sendable")
    with pytest.raises(SettingError, match="FORGATHER_SERVER_TOKEN"):
        RouterSession(asked.url).get_json(PATH)

    assert [request.headers.get("authorization") for request in asked.requests] == [
        "Bearer kept",
        None,
    ]


def test_suspects_are_forgotten_by_other_processes() -> None:
    """A finder travels to workers with what it refuses for good, and without its suspicions."""
    finder = ClusterRouter(RouterSession("http://127.0.0.1:1"))
    finder.suspect(Found("http://a", None, "a"))
    finder.refuse(Found("http://b", None, "b"), DatasetDamaged("bits"))
    copy = pickle.loads(pickle.dumps(finder))

    assert copy._avoided == {}
    assert list(copy._refused) == ["b"]
