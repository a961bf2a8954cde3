"""The registry over HTTP: what programs may do with it, and what they are never told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from clusters import Client, Route, Serve, eventually

from fdss.bundles import Bundle, parse_bundle
from fdss.config import ServerConfig
from fdss.errors import BadParameter, Forbidden
from fdss.router.membership import Member, server_id_of
from fdss.router.names import REGISTRY_PATH, bundle_path, entry_path, registry_file
from fdss.router.registrations import bundle_of
from fdss.serving import Server
from fdss.tls.names import local_names

OUTER = [ip for ip in local_names().ips if not ip.startswith("127.") and ":" not in ip]
URL = "http://host.example:8766"
TOKEN = "token-of-the-server"


@pytest.fixture
def client(route: Route) -> Client:
    """Run a router that knows nobody."""
    return route()


def test_server_is_added_listed_and_removed(client: Client) -> None:
    """A new entry has an id and a server id; it is there until it is removed by its id."""
    added = client.post(REGISTRY_PATH, {"label": "one", "base_url": f"{URL}/", "auth_token": TOKEN})

    entry = added.json()
    assert entry == {
        "id": entry["id"],
        "label": "one",
        "base_url": URL,
        "verify_tls": True,
        "server_id": server_id_of(URL),
        "has_auth_token": True,
    }
    assert client.get(REGISTRY_PATH).json() == {"servers": [entry]}
    assert client.delete(entry_path(entry["id"])).json() == {"removed": entry["id"]}
    assert client.get(REGISTRY_PATH).json() == {"servers": []}
    assert client.delete(entry_path(entry["id"])).status_code == 404


def test_entry_is_removed_by_its_id_alone(client: Client) -> None:
    """A label or a URL names an entry for people, not for programs."""
    client.post(REGISTRY_PATH, {"label": "one", "base_url": URL})

    assert client.delete(entry_path("one")).status_code == 404
    assert client.delete(entry_path(server_id_of(URL))).status_code == 404


def test_label_cannot_keep_another_entry_from_being_removed(client: Client) -> None:
    """An id names its entry, also where a second one is called by it."""
    first = client.post(REGISTRY_PATH, {"base_url": URL}).json()
    second = client.post(
        REGISTRY_PATH, {"label": first["id"], "base_url": "http://other.example:8766"}
    ).json()

    assert client.delete(entry_path(first["id"])).json() == {"removed": first["id"]}
    assert client.get(REGISTRY_PATH).json() == {"servers": [second]}


def test_bundle_is_added(client: Client) -> None:
    """A bundle brings address, scheme and token; what it lacks is told beside it."""
    bundle = str(Bundle("fd00::7", 8766, TOKEN, "https"))

    entry = client.post(
        REGISTRY_PATH, {"bundle": f" {bundle}\n", "label": "six", "verify_tls": False}
    ).json()

    assert (entry["base_url"], entry["label"]) == ("https://[fd00::7]:8766", "six")
    assert (entry["has_auth_token"], entry["verify_tls"]) == (True, False)
    (kept,) = json.loads(registry_file().read_text("utf-8"))
    assert kept["auth_token"] == TOKEN


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"base_url": ""},
        {"base_url": 3},
        {"base_url": "ftp://host"},
        {"base_url": "http://u:token-of-the-server@host"},
        {"base_url": "http://host?token=token-of-the-server"},
        {"base_url": URL, "auth_token": "token-of-the-server\r\nX: 1"},
        {"base_url": URL, "auth_token": ["token-of-the-server"]},
        {"base_url": URL, "verify_tls": "no"},
        {"base_url": URL, "label": "x" * 201},
        {"base_url": URL, "label": "\x1b[31m"},
        {"base_url": URL, "bundle": str(Bundle("host", 1, TOKEN))},
        {"auth_token": TOKEN, "bundle": str(Bundle("host", 1, TOKEN))},
        {"bundle": "http://host:1/?token=token-of-the-server"},
        {"bundle": "forgather-dataset://host/?token=token-of-the-server"},
    ],
)
def test_body_that_names_no_server_is_malformed(client: Client, body: dict[str, Any]) -> None:
    """A 400 says what is wrong, repeats no token, and nothing is added."""
    answer = client.post(REGISTRY_PATH, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad-parameter")
    assert TOKEN not in answer.text
    assert client.get(REGISTRY_PATH).json() == {"servers": []}


def test_body_that_is_no_json_is_refused(client: Client) -> None:
    """What a form of another site could send is not read."""
    url, headers = client.router.url + REGISTRY_PATH, _headers(client)

    form = requests.post(url, data={"base_url": URL}, headers=headers, timeout=60)
    text = requests.post(
        url, data="{", headers={**headers, "Content-Type": "application/json"}, timeout=60
    )
    large = requests.post(url, json={"label": "x" * 70_000}, headers=headers, timeout=60)

    assert [answer.status_code for answer in (form, text, large)] == [415, 400, 413]


def _headers(client: Client) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.router.token}"}


def test_bundle_of_a_server_is_given_to_whoever_has_the_token(
    client: Client, serve: Serve, small_folder: Path
) -> None:
    """A POST gives the line; nothing keeps it, and a GET or a stranger gets none."""
    server = serve(small=small_folder)
    path = bundle_path(server_id_of(server.url))

    given = client.post(path)
    stranger = requests.post(client.router.url + path, timeout=60)

    told = parse_bundle(given.json()["bundle"])
    assert (told.url, told.token) == (server.url, server.token)
    assert given.headers["Cache-Control"] == "no-store"
    assert client.get(path).status_code == 405
    assert (stranger.status_code, "forgather-dataset" in stranger.text) == (401, False)
    assert client.post(bundle_path("0" * 12)).status_code == 404


def test_router_without_a_token_gives_and_changes_nothing(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """Whoever reaches a router without a token cannot make it ask other servers, or get tokens."""
    server = serve(small=small_folder)
    client = route(no_auth=True)
    router = client.router.router
    before = client.get(REGISTRY_PATH).json()

    answers = [
        client.post(REGISTRY_PATH, {"base_url": URL}),
        client.post(REGISTRY_PATH, {"bundle": str(Bundle("host", 1, TOKEN))}),
        client.delete(entry_path(before["servers"][0]["id"])),
        client.post(bundle_path(server_id_of(server.url))),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (403, "forbidden")
    ] * 4
    assert client.get(REGISTRY_PATH).json() == before
    assert str(server.token) not in "".join(answer.text for answer in answers)
    with pytest.raises(Forbidden):
        router.registry.bundle(server_id_of(server.url))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_registry_is_behind_the_gate(client: Client, method: str) -> None:
    """Without the router's token nobody lists or changes it."""
    assert (
        requests.request(method, client.router.url + REGISTRY_PATH, timeout=60).status_code == 401
    )


def test_broken_registry_is_told_without_its_place(client: Client) -> None:
    """A registry that cannot be understood is an error without its path; a new server mends it."""
    client.post(REGISTRY_PATH, {"base_url": URL})
    registry_file().write_text("{broken", "utf-8")

    answer = client.get(REGISTRY_PATH)

    assert answer.status_code == 500
    assert "cannot be understood" in answer.json()["error"]
    assert str(registry_file().parent) not in answer.text
    assert client.post(REGISTRY_PATH, {"base_url": URL}).status_code == 200
    assert len(client.get(REGISTRY_PATH).json()["servers"]) == 1
    assert registry_file().with_name(f"{registry_file().name}.corrupt").exists()


def test_added_server_belongs_to_the_cluster_soon(
    client: Client, serve: Serve, small_folder: Path
) -> None:
    """Clients are sent to a server that was added while the router runs."""
    server = serve(registered=False, small=small_folder)

    client.post(REGISTRY_PATH, {"bundle": str(Bundle("127.0.0.1", _port(server.url), ""))})

    eventually(lambda: client.knows(1))
    assert client.chosen("local/small") == server.url


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://host", "forgather-dataset://host:80/?token=t"),
        ("https://host", "forgather-dataset://host:443/?token=t&scheme=https"),
        ("https://[fd00::7]:1", "forgather-dataset://[fd00::7]:1/?token=t&scheme=https"),
    ],
)
def test_bundle_has_what_a_url_leaves_out(url: str, line: str) -> None:
    """The port of the scheme is written out, and the scheme where it is not http."""
    assert str(bundle_of(Member(url, "t"))) == line


@pytest.mark.skipif(not OUTER, reason="this machine has no address but its own")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_bundle_names_an_address_that_others_reach(client: Client, host: str) -> None:
    """A server on all addresses of the router's machine is named by one that leads there."""
    with Server(ServerConfig(host="0.0.0.0", port=0, insecure=True, auth_token=TOKEN)) as server:
        port = _port(server.url)
        registered = {"base_url": f"http://{host}:{port}", "auth_token": TOKEN}
        entry = client.post(REGISTRY_PATH, registered).json()
        told = parse_bundle(client.post(bundle_path(entry["server_id"])).json()["bundle"])

    assert told.host in OUTER and (told.port, told.token) == (port, TOKEN)


def test_server_with_a_path_has_no_bundle() -> None:
    """A bundle has no place for a path."""
    with pytest.raises(BadParameter, match="path"):
        bundle_of(Member("https://host/data"))
