"""What a job asks a cluster's router, and which of its servers it reads from."""

from __future__ import annotations

import copy
import json
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest
from raw_server import RawServer, Request, StartServer, response

from fdss import places, tokens
from fdss.arguments import LoadArguments
from fdss.backend import Selection
from fdss.client import ResilientRemoteBackend, fast_load_iterable_dataset
from fdss.client.cluster import RouterSession
from fdss.client.finding import AVOIDED_S, ClusterRouter, Found, OneServer
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.patience import Patience
from fdss.errors import (
    AuthenticationRequired,
    ContentChanged,
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


@pytest.mark.parametrize(
    ("enabled", "names", "scheme"),
    [
        ("true", ["server.crt", "server.key"], "https"),
        ("false", ["server.crt", "server.key"], "http"),
        ("true", ["server.crt"], "http"),
    ],
)
def test_the_router_of_this_machine_speaks_as_the_tls_folder_says(
    enabled: str, names: list[str], scheme: str
) -> None:
    """Without a URL the router of this machine is asked, over https once TLS is enabled."""
    folder = places.tls_folder()
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"enabled: {enabled}\n")
    for name in names:
        (folder / name).touch()

    assert RouterSession().url == f"{scheme}://127.0.0.1:8765"
    assert RouterSession("http://127.0.0.1:9").url == "http://127.0.0.1:9"


def test_a_router_without_a_port_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that is down at the start is tried again, for as long as the cap allows."""
    monkeypatch.setenv("FORGATHER_SERVER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FORGATHER_DATASET_CLIENT_MAX_RETRY_SECONDS", "0.2")
    monkeypatch.setenv(SERVER_VARIABLE, "auto")
    dataset = fast_load_iterable_dataset("local/rows")
    with pytest.raises(OutageTooLong, match=r"cluster router at .*127\.0\.0\.1:1") as caught:
        len(dataset)

    assert "FORGATHER_SERVER_URL" in caught.value.hint


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


def test_other_content_is_refused(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A replica with other content is not read from; if there is no other, that is the error."""
    sound, closed = ("200 OK", loaded("a")), ("403 No", {"error": "closed", "code": "forbidden"})
    server = start_server(answering(sound, closed))
    other = start_server(answering(("200 OK", loaded("b"))))
    named, else_named = resolved(server, "one"), resolved(other, "two")
    asked = router(named, else_named, UNAVAILABLE, else_named)
    backend = clustered()
    assert backend.fingerprint == "a" * 64
    with pytest.raises(ContentChanged, match="local/rows"):
        list(backend.chunks(Selection(range(3), range(3))))

    assert asked.requests[1].query["fingerprint"] == "a" * 64
    assert asked.requests[2].query["exclude"] == "one,two"


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


def test_data_files_are_asked_for(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """The router hears which files are wanted."""
    server = start_server(answering(("200 OK", loaded())))
    asked = router(resolved(server, "one"))

    assert len(clustered(LoadArguments("local/rows", data_files={"train": ["a*.csv"]}))) == 3
    assert json.loads(asked.requests[0].query["data_files"]) == {"train": ["a*.csv"]}


def test_a_reboot_that_the_router_takes_for_good_is_waited_for(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """A job that reads waits while its server is out of the cluster; a name never known fails."""
    server = start_server(answering(("200 OK", loaded()), ("502 Bad", {}), ("200 OK", loaded())))
    router(resolved(server, "one"), NOBODY, NOBODY, resolved(server, "one"))
    backend = clustered()
    assert len(backend) == 3
    chunks = backend.chunks(Selection(range(3), range(3), columns=()))

    assert sum(map(len, chunks)) == 3


def test_a_forked_worker_reads_what_the_job_reads(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """The first process that knows the content tells those that were forked before."""
    one = start_server(answering(("200 OK", loaded("a"))))
    two = start_server(answering(("200 OK", loaded("b"))))
    router(resolved(one, "one"), resolved(two, "two"), UNAVAILABLE, resolved(two, "two"))
    backend = clustered()
    # What a fork does: a copy of everything but the memory that is shared.
    forked = copy.copy(ClusterRouter(RouterSession()))
    worker = ResilientRemoteBackend(LoadArguments("local/rows"), forked, patience=QUICK)
    worker.pin = backend.pin
    assert backend.fingerprint == "a" * 64
    with pytest.raises(ContentChanged):
        len(worker)


def test_a_pickled_dataset_has_been_resolved(
    start_server: StartServer, router: Callable[..., RawServer]
) -> None:
    """Whoever gets a copy asks for the same content, and no token is in it."""
    server = start_server(answering(("200 OK", loaded())))
    asked = router(resolved(server, "one"))
    travelling = pickle.dumps(clustered())

    assert b"the-routers" not in travelling
    assert len(pickle.loads(travelling)) == 3
    assert len(asked.requests) == 1


def test_no_token_is_shown() -> None:
    """What is found and how it is found print without a token."""
    found = Found("http://a", "secret", "a")
    backend = ResilientRemoteBackend(LoadArguments("local/rows"), OneServer("http://a", "secret"))

    assert "secret" not in repr(found) + repr(backend)


def test_a_server_that_fails_again_and_again_is_avoided_longer() -> None:
    """Several readers that lose a server at once lose it once; only later failures count."""
    finder = ClusterRouter(RouterSession("http://127.0.0.1:1"))
    found = Found("http://a", None, "a")
    for _ in range(5):
        finder.suspect(found)

    assert finder.avoided_s(found) <= AVOIDED_S


def test_a_router_over_https_names_no_server_without_tls() -> None:
    """A job that asks its router over https is not sent to plain http beyond this machine."""

    class Answered(RouterSession):
        def get_json(self, path: str) -> Json:
            """Return what a router would answer that was taken over."""
            return {"base_url": "http://data.example:8766", "auth_token": "", "server_id": "x"}

    with pytest.raises(PageForeign, match="without TLS"):
        ClusterRouter(Answered("https://router.example:8765")).find(LoadArguments("local/x"), None)
