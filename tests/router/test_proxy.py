"""The router asks its members for others: what comes back, and who cannot be asked."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import Client, MakePeer, Route, Serve, eventually, register
from raw_server import (
    NDJSON,
    Answer,
    Request,
    StartServer,
    page_headers,
    raw_servers,
    response,
)

from fdss.backend import WINDOW_ROWS
from fdss.errors import BadParameter, NotFound, UnknownHandle
from fdss.order import Order
from fdss.router.asking import AskFailed
from fdss.router.membership import server_id_of
from fdss.router.names import BASE_PROXY_PATH, REGISTRY_PATH, proxy_path
from fdss.router.proxy import PAGE_BYTES, Proxy
from fdss.router.turns import OWN_TURNS, TURNS, TURNS_PER_SERVER
from fdss.serving import Server

HANDLE = "0" * 16


@pytest.fixture
def start(home: Path) -> Iterator[StartServer]:
    """Return a call that starts a server with an answering function."""
    with raw_servers() as start:
        yield start


@pytest.fixture
def small(serve: Serve, small_folder: Path) -> Server:
    """Serve a hundred rows, registered."""
    return serve(small=small_folder)


def _loaded(client: Client, server: Server, path: str = "local/small") -> dict[str, Any]:
    return client.router.router.proxy.load(server_id_of(server.url), {"path": path})


def _rows(proxy: Proxy, server: Any, handle: str = HANDLE, **asked: Any) -> Any:
    return proxy.rows(server_id_of(server.url), handle, **{"position": 0, "limit": 10, **asked})


def _answers(body: bytes, **changes: str) -> Answer:
    def answer(request: Request, connection: socket.socket) -> None:
        # The router asks for other things, too.
        headers = page_headers(request, length=10**6) if "limit" in request.query else {}
        connection.sendall(response(body, content_type=NDJSON, headers={**headers, **changes}))

    return answer


def test_rows_are_those_of_the_dataset(route: Route, small: Server) -> None:
    """Rows come as values, with their place and their content's fingerprint."""
    client = route()
    told = _loaded(client, small)

    page = _rows(client.router.router.proxy, small, told["handle"], position=98, limit=25)

    assert page.rows == [{"x": 98}, {"x": 99}]
    assert (page.position, page.length, page.is_cut) == (98, 100, False)
    assert page.fingerprint == told["fingerprint"]


def test_rows_of_a_seed_are_in_its_order(route: Route, small: Server) -> None:
    """With a seed, rows come in the order that a client's shuffle with that seed reads."""
    client = route()
    handle = _loaded(client, small)["handle"]
    proxy = client.router.router.proxy

    whole = [row["x"] for row in _rows(proxy, small, handle, limit=100, seed=7).rows]
    part = [row["x"] for row in _rows(proxy, small, handle, position=40, seed=7).rows]

    assert whole == Order(100, 7, window=WINDOW_ROWS).rows(np.arange(100)).tolist()
    assert part == whole[40:50]


def test_values_keep_their_types(route: Route, serve: Serve, tmp_path: Path) -> None:
    """Dates are dates, bytes are bytes, and an image is its stored bytes and path."""
    from datasets import Dataset, Features, Image, Value

    folder = tmp_path / "typed"
    day = dt.date(2024, 2, 29)
    image = {"bytes": b"\x00<script>\xff", "path": None}
    features = Features(
        {"day": Value("date32"), "raw": Value("binary"), "a,b": Value("string"), "image": Image()}
    )
    rows = {"day": [day], "raw": [b"\x00\xff"], "a,b": ["<b>"], "image": [image]}
    Dataset.from_dict(rows, features=features).save_to_disk(str(folder))
    server = serve(typed=folder)
    client = route()
    handle = _loaded(client, server, "local/typed")["handle"]
    proxy = client.router.router.proxy

    assert _rows(proxy, server, handle).rows == [
        {"day": day, "raw": b"\x00\xff", "a,b": "<b>", "image": image}
    ]
    assert _rows(proxy, server, handle, columns=("a,b",)).rows == [{"a,b": "<b>"}]


def test_large_cells_make_a_shorter_page(route: Route, serve: Serve, tmp_path: Path) -> None:
    """Of rows of a megabyte as many come as 16 MiB hold, and the page says that it is cut."""
    from datasets import Dataset

    folder = tmp_path / "large"
    Dataset.from_dict({"text": ["x" * 10**6] * 25}).save_to_disk(str(folder))
    server = serve(large=folder)
    client = route()
    handle = _loaded(client, server, "local/large")["handle"]

    page = _rows(client.router.router.proxy, server, handle, limit=25)

    assert page.is_cut and len(page.rows) == PAGE_BYTES // 10**6
    assert page.rows[-1] == {"text": "x" * 10**6}


def test_row_that_is_too_large_alone_is_told(route: Route, start: StartServer) -> None:
    """A row of more than 16 MiB is no row, and the failure says what to do."""
    server = start(_answers(b'{"n":"' + b"x" * (PAGE_BYTES + 1) + b'"}\n'))
    register(server.url)

    with pytest.raises(AskFailed, match="position 5 alone has more than 16 MiB"):
        _rows(route().router.router.proxy, server, position=5)


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        pytest.param(b'{"n":1}\n' * 11, {"FDSS-Rows": "11"}, id="more"),
        pytest.param(b'{"n":1}\n' * 9, {}, id="fewer"),
        pytest.param(b'{"n":1}\n' * 9 + b"[]\n", {}, id="list"),
        pytest.param(b'{"n":1}\n' * 9 + b"{\n", {}, id="cut"),
        pytest.param(b'{"n":{"__timestamp__":3}}\n' * 10, {}, id="tag"),
        pytest.param(b'{"n":1}\n' * 10, {"FDSS-Length": "many"}, id="length"),
        pytest.param(b'{"n":1}\n' * 10, {"FDSS-Rows": "-1"}, id="count"),
    ],
)
def test_page_that_is_not_what_was_asked_for_is_none(
    route: Route, start: StartServer, body: bytes, changes: dict[str, str]
) -> None:
    """More rows, fewer, others than rows, and figures that are none are failures of the server."""
    server = start(_answers(body, **changes))
    register(server.url)

    with pytest.raises(AskFailed):
        _rows(route().router.router.proxy, server)


def test_server_from_before_fdss_gives_stored_order_alone(route: Route, start: StartServer) -> None:
    """Its rows are read as it writes them; what it does not know is not asked of it."""

    def answer(request: Request, connection: socket.socket) -> None:
        is_page = request.path.endswith("/iter")
        body = b'{"n": {"__bytes_b64__": "AAE="}}\n' if is_page else b'{"length": 1}'
        connection.sendall(response(body))

    server = start(answer)
    register(server.url)
    proxy = route().router.router.proxy

    page = _rows(proxy, server)

    assert (page.rows, page.length, page.fingerprint) == ([{"n": b"\x00\x01"}], 1, "")
    with pytest.raises(AskFailed, match="too old"):
        _rows(proxy, server, seed=1)


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 501}, {"position": -1}, {"position": 1 << 63}]
)
def test_place_out_of_range_is_refused(route: Route, small: Server, asked: dict[str, int]) -> None:
    """Position and limit have bounds, and nobody is asked for others."""
    with pytest.raises(BadParameter):
        _rows(route().router.router.proxy, small, HANDLE, **asked)


@pytest.mark.parametrize("handle", ["", "../health", "a/b", "x" * 129, "?", "é"])
def test_handle_can_lead_nowhere_else(route: Route, small: Server, handle: str) -> None:
    """What is no handle never becomes a part of a path."""
    proxy = route().router.router.proxy

    with pytest.raises(UnknownHandle):
        _rows(proxy, small, handle)
    with pytest.raises(UnknownHandle):
        proxy.length(server_id_of(small.url), handle)


def test_only_members_are_asked(route: Route, start: StartServer) -> None:
    """A server of this machine that nobody registered is out of reach, by id and by URL."""
    server = start(_answers(b""))
    client = route()
    proxy = client.router.router.proxy

    with pytest.raises(NotFound):
        proxy.ask(server_id_of(server.url), "health")
    refused = client.get(f"{BASE_PROXY_PATH}/health", base=server.url)

    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "register it first" in refused.json()["hint"]
    assert server.requests == []


@pytest.mark.parametrize(
    "base", ["", "ftp://host", "http://user:secret@host", "http://h?token=secret", "//host", "x"]
)
def test_url_that_names_no_server_is_malformed(route: Route, base: str) -> None:
    """What is no URL of a server is a 400, which repeats no password."""
    answer = route().get(f"{BASE_PROXY_PATH}/health", base=base)

    assert answer.status_code == 400
    assert "secret" not in answer.text


def test_server_is_a_member_from_when_it_is_registered_until_it_is_removed(
    route: Route, small: Server
) -> None:
    """The registry holds at once: nobody waits until it is read the next time."""
    client = route()
    eventually(lambda: client.knows(1))
    server_id = server_id_of(small.url)
    router = client.router.router

    router.registry.remove(router.registry.list()[0]["id"])
    with pytest.raises(NotFound):
        router.proxy.ask(server_id, "health")
    router.registry.add("again", small.url, small.token or "")

    assert router.proxy.ask(server_id, "local")["local"][0]["name"] == "small"


def test_api_names_a_server_by_id_or_url(route: Route, small: Server) -> None:
    """Both give the same: load, length, rows, and what the server says of itself."""
    client = route()
    server_id = server_id_of(small.url)

    for path, named in ((proxy_path(server_id, ""), {}), (f"{BASE_PROXY_PATH}/", _base(small))):
        loaded = client.post(f"{path}load", {"path": "local/small"}, **named)
        handle = loaded.json()["handle"]
        length = client.get(f"{path}length", handle=handle, **named)
        page = client.get(f"{path}iter", handle=handle, position="98", **named)

        assert length.json() == {"length": 100}
        assert page.json() == {
            "rows": [{"x": 98}, {"x": 99}],
            "position": 98,
            "length": 100,
            "fingerprint": loaded.json()["fingerprint"],
            "types": "plain",
            "is_cut": False,
        }
        assert client.get(f"{path}local", **named).json()["local"][0]["name"] == "small"
        assert client.get(f"{path}nothing", **named).status_code == 404
        assert client.get(f"{path}load", **named).status_code == 405


def _base(server: Server) -> dict[str, str]:
    return {"base": f"{server.url}/"}


def test_failure_of_the_server_is_told_from_that_of_the_router(
    route: Route, small: Server, start: StartServer
) -> None:
    """A refusal of the server's is a 502 with its status and code; the router's has its own."""
    client = route()
    path = proxy_path(server_id_of(small.url), "")
    broken = start(_answers(b"<html>"))
    register(broken.url)

    refused = client.post(f"{path}load", {"path": "/etc"})
    unknown = client.get(f"{path}iter", handle=HANDLE)
    malformed = client.post(f"{path}load", {})
    no_json = client.get(proxy_path(server_id_of(broken.url), "cache"))

    assert (refused.status_code, refused.headers["x-upstream-auth-failed"]) == (502, "1")
    assert refused.json()["upstream_status"] == 403
    assert refused.json()["upstream_code"] == "paths-disabled"
    assert (unknown.status_code, unknown.json()["upstream_status"]) == (502, 404)
    assert unknown.json()["upstream_code"] == "unknown-handle"
    assert "x-upstream-auth-failed" not in unknown.headers
    assert (malformed.status_code, malformed.json()["code"]) == (400, "bad-parameter")
    assert (no_json.status_code, no_json.json()["code"]) == (502, "bad-gateway")


def test_rows_reach_a_caller_as_json_and_nothing_else(route: Route, start: StartServer) -> None:
    """A line that is no JSON object never becomes a part of an answer."""
    server = start(_answers(b'{"n":1}],"x":[{}\n' * 10))
    register(server.url)

    answer = route().get(proxy_path(server_id_of(server.url), "iter"), handle=HANDLE, limit="10")

    assert answer.status_code == 502
    assert answer.json()["code"] == "bad-gateway"


def test_tokens_are_sent_to_servers_and_to_nobody_else(
    route: Route, start: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A server gets its own token; neither an answer nor a log has it, or the router's own."""
    seen: list[str] = []

    def answer(request: Request, connection: socket.socket) -> None:
        seen.append(request.headers.get("authorization", ""))
        connection.sendall(response(b'{"error": "no"}', status="401 Unauthorized"))

    server = start(answer)
    server_id = register(server.url, "token-of-the-server")
    client = route()

    answers = [
        client.get(proxy_path(server_id, "health")),
        client.post(proxy_path(server_id, "load"), {"path": "x"}),
        client.get("/api/dataset-servers/user"),
        client.get("/api/cluster/dataset_servers"),
        client.get("/api/cluster/dataset_inventory"),
    ]

    told = "".join(f"{answer.headers}{answer.text}" for answer in answers) + caplog.text
    assert set(seen) == {"Bearer token-of-the-server"}
    assert "token-of-the-server" not in told
    assert client.router.token is not None and client.router.token not in told


def test_server_that_hangs_takes_its_own_turns_only(route: Route, peer: MakePeer) -> None:
    """Some questions wait for it, further ones are refused, and the router answers others."""
    silent, sound = peer(), peer()
    client = route()
    eventually(lambda: client.knows(2))
    proxy = client.router.router.proxy
    path = proxy_path(server_id_of(silent.url), "health")
    silent.silent.clear()

    with ThreadPoolExecutor(2 * TURNS) as pool:
        asked = [pool.submit(client.get, path) for _ in range(2 * TURNS)]
        eventually(lambda: sum(question.done() for question in asked) >= TURNS)
        assert proxy.under_way == TURNS_PER_SERVER
        assert proxy.ask(server_id_of(sound.url), "health")["status"] == "ok"
        assert client.get(REGISTRY_PATH).status_code == 200
        silent.silent.set()

    answers = [question.result() for question in asked]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) >= TURNS
    assert {answer.json()["code"] for answer in refused} == {"unavailable"}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    assert {answer.status_code for answer in answers} <= {200, 502, 503}
    assert proxy.under_way == 0
    assert client.get(path).json()["status"] == "ok"


def test_many_questions_at_once_are_all_answered(route: Route, small: Server) -> None:
    """What a browser asks for a page at once has its turn, one after the other."""
    client = route()
    path = proxy_path(server_id_of(small.url), "local")

    with ThreadPoolExecutor(OWN_TURNS) as pool:
        answers = list(pool.map(client.get, [path] * 100))

    assert {answer.status_code for answer in answers} == {200}
