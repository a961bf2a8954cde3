"""Which server a client is sent to, over HTTP, with real dataset servers behind the router."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from clusters import Client, MakePeer, Route, Serve, eventually, register
from datasets import Dataset

from fdss.router import proxy
from fdss.router.membership import Member
from fdss.router.names import INVENTORY_PATH, REFRESH_PATH, SERVERS_PATH, proxy_path
from fdss.router.proxy import MEMORY_TIMEOUT_S
from fdss.router.turns import TURNS_PER_SERVER
from fdss.serving import Server
from fdss.wire.names import LOAD_PATH, LOCAL_PATH, ROUTER_RESOLVE_PATH, iter_path

FINGERPRINT = "f" * 64
OTHER = "e" * 64


def test_router_without_servers_asks_to_come_back(route: Route) -> None:
    """While the router knows nobody, the answer is 503 with Retry-After."""
    answer = route().resolve("local/s")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "warming up" in answer.json()["detail"]


def test_server_that_is_added_is_found(route: Route, serve: Serve, small_folder: Path) -> None:
    """A server added to the registry answers for its names soon, its token and id told."""
    client = route()
    assert client.resolve("local/s").status_code == 503
    server = serve(s=small_folder)

    assert client.chosen("local/s") == server.url

    answer = client.resolve("local/s").json()
    assert set(answer) == {"base_url", "auth_token", "server_id"}
    assert answer["auth_token"] == server.token
    assert len(answer["server_id"]) == 12


def test_dataset_id_is_another_word_for_path(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """The name may come as ``dataset_id``, as clients of other versions send it."""
    server, client = serve(s=small_folder), route()
    client.chosen("local/s")

    answer = client.get(ROUTER_RESOLVE_PATH, dataset_id="local/s")

    assert answer.json()["base_url"] == server.url


def test_name_that_nobody_serves_is_gone(route: Route, serve: Serve, small_folder: Path) -> None:
    """In a healthy cluster a name that nobody serves is answered with 410."""
    serve(s=small_folder)
    client = route()
    eventually(lambda: client.knows(1))

    for path in ("local/nope", "some/dataset", "/a/path", "json"):
        answer = client.resolve(path)
        assert answer.status_code == 410
        assert answer.json()["code"] == "nobody-serves"
        assert repr(path) in answer.json()["detail"]


def test_request_without_a_name_is_malformed(route: Route) -> None:
    """Neither path nor dataset_id, two that differ, or odd characters, is a 400."""
    client = route()

    assert client.get(ROUTER_RESOLVE_PATH).status_code == 400
    assert client.resolve("a", dataset_id="b").status_code == 400
    assert client.resolve("local/\x00").status_code == 400


@pytest.mark.parametrize("path", [ROUTER_RESOLVE_PATH, INVENTORY_PATH, SERVERS_PATH, "/v1/nowhere"])
def test_nothing_is_told_without_the_token(route: Route, path: str) -> None:
    """Without the router's token every path of programs but health is a 401."""
    answer = requests.get(route().router.url + path, timeout=60)

    assert answer.status_code == 401


def test_router_without_authentication_gives_no_tokens(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """A router that everybody may ask tells where servers are, and no token."""
    server = serve(s=small_folder)
    client = route(no_auth=True)

    assert client.chosen("local/s") == server.url
    assert client.resolve("local/s").json()["auth_token"] == ""


def test_no_list_has_a_token(route: Route, serve: Serve, small_folder: Path) -> None:
    """Neither inventory nor list of servers nor a proxied answer holds a token."""
    server, client = serve(s=small_folder), route()
    client.chosen("local/s")
    server_id = client.resolve("local/s").json()["server_id"]

    paths = (INVENTORY_PATH, SERVERS_PATH, proxy_path(server_id, "local"))
    answers = [client.get(path) for path in paths]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert server.token is not None
    assert not [answer.text for answer in answers if server.token in answer.text]


@pytest.mark.only_on("linux")
def test_excluded_server_is_avoided_by_all_after_two_clients(
    route: Route, serve: Serve, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client's word keeps that client from a server; a second one's everybody, for a while."""
    monkeypatch.setattr("fdss.router.knowledge.SUSPECTED_S", 600.0)
    servers = [serve(s=small_folder) for _ in range(2)]
    client = route()
    eventually(lambda: client.knows(2))
    client.chosen("local/s")
    failed = client.resolve("local/s").json()
    (other,) = {server.url for server in servers} - {failed["base_url"]}
    excluding = {"exclude": failed["server_id"]}

    for _ in range(20):
        assert client.resolve("local/s", **excluding).json()["base_url"] == other
    assert {client.chosen("local/s") for _ in range(40)} == {server.url for server in servers}
    second = replace(client, address="127.0.0.2")
    assert second.resolve("local/s", **excluding).json()["base_url"] == other

    assert {client.chosen("local/s") for _ in range(40)} == {other}


def test_client_that_all_servers_failed_is_to_come_back(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """When every server has just failed a client the answer is 503, never 410."""
    serve(s=small_folder)
    client = route()
    client.chosen("local/s")
    server_id = client.resolve("local/s").json()["server_id"]

    answer = client.resolve("local/s", exclude=server_id)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert client.resolve("local/s").status_code == 200


def test_clients_are_spread_evenly(route: Route, serve: Serve, small_folder: Path) -> None:
    """Of 64 clients that come at once, each of three servers gets its third within 20 %."""
    for _ in range(3):
        serve(s=small_folder)
    client = route()
    eventually(lambda: client.knows(3))

    chosen = Counter(client.chosen("local/s") for _ in range(64))

    assert len(chosen) == 3
    assert all(abs(count - 64 / 3) <= 0.2 * 64 / 3 for count in chosen.values())


def test_busy_server_gets_fewer_clients(route: Route, peer: MakePeer) -> None:
    """A server that tells of many streams and bytes is passed over."""
    peer(cached=("a/b",), streams=50, bytes_per_s=1e8)
    idle = peer(cached=("a/b",), streams=1, bytes_per_s=1e6)
    client = route()
    eventually(lambda: client.knows(2))

    assert {client.chosen("a/b") for _ in range(10)} == {idle.url}


def test_different_rows_of_one_name_are_never_mixed(
    route: Route,
    serve: Serve,
    small_folder: Path,
    other_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Same name, same columns and counts, one value changed: clients get one content only."""
    right = {serve(s=small_folder).url, serve(s=small_folder).url}
    serve(s=other_folder)
    client = route()
    eventually(lambda: client.knows(3))

    with caplog.at_level(logging.ERROR):
        chosen = {client.chosen("local/s") for _ in range(40)}
        eventually(lambda: "CONFLICT: local/s" in caplog.text)

    assert chosen == right
    (conflict,) = client.get(INVENTORY_PATH).json()["conflicts"]
    assert conflict["dataset_id"] == "local/s"
    assert sorted(len(ids) for ids in conflict["contents"].values()) == [1, 2]


def test_fingerprint_pins_the_content(
    route: Route, serve: Serve, small_folder: Path, other_folder: Path
) -> None:
    """A job is sent to servers with its content only, also when most have another."""
    serve(s=small_folder), serve(s=small_folder)
    single = serve(s=other_folder)
    fingerprint = _load(single.url, single.token)
    client = route()

    assert client.chosen("local/s", fingerprint=fingerprint) == single.url
    assert {client.chosen("local/s", fingerprint=fingerprint) for _ in range(10)} == {single.url}


def test_content_that_nobody_has_is_gone(route: Route, serve: Serve, small_folder: Path) -> None:
    """In a healthy cluster a fingerprint that no server has is answered with 410."""
    serve(s=small_folder), serve(s=small_folder)
    client = route()
    eventually(lambda: client.knows(2))

    eventually(lambda: client.resolve("local/s", fingerprint=FINGERPRINT).status_code != 503)
    answer = client.resolve("local/s", fingerprint=FINGERPRINT)

    assert answer.status_code == 410
    assert FINGERPRINT[:12] in answer.json()["detail"]


def test_only_server_with_the_content_down_is_no_end(
    route: Route, serve: Serve, small_folder: Path, other_folder: Path
) -> None:
    """While the one server with a job's content is down the answer is 503."""
    serve(s=small_folder)
    single = serve(s=other_folder)
    fingerprint = _load(single.url, single.token)
    client = route()
    assert client.chosen("local/s", fingerprint=fingerprint) == single.url

    single.close()

    def is_awaited() -> bool:
        answer = client.resolve("local/s", fingerprint=fingerprint)
        assert answer.status_code in (200, 503)
        return answer.status_code == 503 and single.url in answer.json()["detail"]

    eventually(is_awaited)


@pytest.mark.parametrize("single", ["part-0.jsonl", ["part-0.jsonl"], {"train": "part-0.jsonl"}])
def test_data_files_count_for_the_content(
    route: Route, serve: Serve, tmp_path: Path, single: str | list[str] | dict[str, str]
) -> None:
    """A job that reads some files of a dataset goes on at a server that has the rows of these."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(2):
        (folder / f"part-{part}.jsonl").write_text(f'{{"x": {part}}}\n' * 9, "utf-8")
    servers = [serve(d=folder) for _ in range(2)]
    wanted = _load(servers[0].url, servers[0].token, path="local/d", data_files=single)
    assert wanted != _load(servers[0].url, servers[0].token, path="local/d")
    client = route()
    eventually(lambda: client.knows(2))
    asked = {"data_files": json.dumps(single), "fingerprint": wanted}
    first = client.chosen("local/d", **asked)
    second = client.chosen("local/d", **asked, exclude=Member(first).server_id)

    assert second in {server.url for server in servers} - {first}
    eventually(lambda: client.resolve("local/d", fingerprint=wanted).status_code == 410)


@pytest.mark.parametrize(
    "text", ["part-0.jsonl", "3", "[", "[" * 9999, '{"a b": "x"}', '["\\u0000"]', '[["x"]]']
)
def test_odd_data_files_are_malformed(route: Route, text: str) -> None:
    """What is neither a pattern nor a list of them nor either by split, as JSON, is a 400."""
    answer = route().resolve("local/s", data_files=text)

    assert (answer.status_code, "data_files" in answer.json()["error"]) == (400, True)


def test_split_that_a_server_lacks_is_left_to_it_to_refuse(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """A wrong split goes to a server of that name, which says which splits there are."""
    server = serve(s=small_folder)
    client = route()

    assert client.chosen("local/s", split="nope") == server.url


def test_cached_hub_dataset_comes_before_a_download(route: Route, peer: MakePeer) -> None:
    """A Hub id goes to servers that have it cached; without one to those that may download."""
    downloading, cached = peer(downloads=True), peer(cached=("a/b",))
    peer(cached=("c/d",))
    client = route()
    eventually(lambda: client.knows(3))

    assert {client.chosen("A/b") for _ in range(10)} == {cached.url}
    assert {client.chosen("x/y") for _ in range(10)} == {downloading.url}
    assert client.chosen("a/b", name="another") == downloading.url


def test_hub_dataset_that_nobody_may_get_is_gone(route: Route, peer: MakePeer) -> None:
    """A Hub id that is nowhere cached is a 410 where no server may download."""
    peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(1))

    assert client.resolve("x/y").status_code == 410


def test_a_download_is_not_asked_of_every_server(route: Route, peer: MakePeer) -> None:
    """To pin a content, servers that would have to download it are asked one after another."""
    peers = [peer(downloads=True) for _ in range(3)]
    client = route()
    eventually(lambda: client.knows(3))

    client.chosen("x/y", fingerprint=FINGERPRINT)

    assert sum(asked.asked.count(LOAD_PATH) for asked in peers) == 1


def test_content_changed_on_a_server_is_noticed(route: Route, peer: MakePeer) -> None:
    """After a server failed a client, what the router knew of its content is asked anew."""
    first, second = peer(cached=("a/b",)), peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(2))
    # Without a fingerprint no answer comes before both have told theirs.
    client.chosen("a/b")
    first.answers[LOAD_PATH] = {"fingerprint": OTHER}
    ids = {s["base_url"]: s["server_id"] for s in client.get(SERVERS_PATH).json()["servers"]}

    client.resolve("a/b", fingerprint=FINGERPRINT, exclude=ids[first.url])
    eventually(lambda: client.resolve("a/b", fingerprint=OTHER).status_code == 200)

    assert client.chosen("a/b", fingerprint=OTHER) == first.url
    assert client.chosen("a/b", fingerprint=FINGERPRINT) == second.url


def test_nobody_begins_before_a_content_is_known(route: Route, peer: MakePeer) -> None:
    """While several servers still load a dataset, clients that begin are asked to come back."""
    peers = [peer(cached=("a/b",)) for _ in range(2)]
    client = route()
    eventually(lambda: client.knows(2))
    for loading in peers:
        loading.loads.clear()

    answer = client.resolve("a/b")

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    for loading in peers:
        loading.loads.set()
    assert client.chosen("a/b") in {loading.url for loading in peers}


def test_server_that_loads_for_long_is_left_out(
    route: Route, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients do not wait for the last of several servers to tell its content."""
    monkeypatch.setattr("fdss.router.resolving.PATIENCE_S", 0.5)
    quick, slow = peer(cached=("a/b",)), peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(2))
    slow.loads.clear()

    assert {client.chosen("a/b") for _ in range(10)} == {quick.url}

    slow.loads.set()


@pytest.mark.long
def test_server_that_loads_for_long_leaves_room_for_others(route: Route, peer: MakePeer) -> None:
    """However many names a slow server is asked to load, others are asked at once."""
    names = tuple(f"a/{number}" for number in range(80))
    slow, quick = peer(cached=names), peer(cached=("c/d", *names))
    third = peer(cached=("c/d",))
    client = route()
    eventually(lambda: client.knows(3))
    slow.loads.clear()
    for name in names:
        client.resolve(name, fingerprint=OTHER)

    assert client.chosen("c/d") in (quick.url, third.url)

    assert slow.asked.count(LOAD_PATH) <= 4
    slow.loads.set()


def test_failed_refresh_keeps_the_last_good_knowledge(route: Route, peer: MakePeer) -> None:
    """A server whose list fails is still sent the clients of what it last listed."""
    listing = peer()
    listing.answers[LOCAL_PATH] = {"local": [{"name": "s", "splits": []}]}
    client = route()
    assert client.chosen("local/s") == listing.url

    listing.answers[LOCAL_PATH] = 500
    eventually(lambda: _of(client, listing.url)["dataset_refreshes"]["failed"] >= 2)
    before_s = _of(client, listing.url)["last_dataset_refresh"]
    eventually(lambda: _of(client, listing.url)["last_health_check"] > before_s)

    told = _of(client, listing.url)
    assert client.chosen("local/s") == listing.url
    assert "500" in told["last_dataset_error"]
    assert told["last_dataset_refresh"] == before_s


def test_odd_answers_do_no_harm(route: Route, peer: MakePeer) -> None:
    """A server that answers nonsense is known with what can be understood of it."""
    odd, sound = peer(), peer(cached=("a/b",))
    odd.answers[LOCAL_PATH] = {"local": [3, {"name": 4}, {"name": "s", "splits": "x"}]}
    client = route()
    eventually(lambda: client.knows(2))

    assert client.get(INVENTORY_PATH).status_code == 200
    assert client.chosen("local/s") == odd.url
    assert client.chosen("a/b") == sound.url


def test_proxy_asks_one_server(route: Route, serve: Serve, small_folder: Path) -> None:
    """The router hands on what a server answers; other ids and questions are 404."""
    serve(s=small_folder)
    client = route()
    eventually(lambda: client.knows(1))
    server_id = client.resolve("local/s").json()["server_id"]

    assert client.get(proxy_path(server_id, "local")).json()["local"][0]["name"] == "s"
    assert client.get(proxy_path(server_id, "health")).json()["status"] == "ok"
    assert client.get(proxy_path(server_id, "load")).status_code == 405
    assert client.get(proxy_path("0" * 12, "local")).status_code == 404


def test_proxy_tells_a_refused_token_from_its_own(
    route: Route, serve: Serve, small_folder: Path
) -> None:
    """A server that refuses the router's token is a 502 with a header that says so."""
    server = serve(registered=False, s=small_folder)
    server_id = register(server.url, "wrong")

    answer = route().get(proxy_path(server_id, "local"))

    assert answer.status_code == 502
    assert answer.headers["x-upstream-auth-failed"] == "1"


def test_refresh_asks_everybody_at_once(route: Route, peer: MakePeer) -> None:
    """POST refresh is a 204, and servers are asked again long before their turn."""
    from fdss.router.watching import Rhythm

    asked = peer()
    client = route(rhythm=Rhythm())
    eventually(lambda: client.knows(1))
    before = asked.asked.count(LOCAL_PATH)

    assert client.post(REFRESH_PATH).status_code == 204

    eventually(lambda: asked.asked.count(LOCAL_PATH) > before)


def test_silent_server_keeps_nobody_from_an_answer(route: Route, peer: MakePeer) -> None:
    """While questions to a silent server fill their threads, resolve answers at once."""
    silent, sound = peer(), peer(cached=("a/b",))
    client = route()
    eventually(lambda: client.knows(2))
    silent.silent.clear()
    path = proxy_path(Member(silent.url).server_id, "health")
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(client.get, path) for _ in range(12)]
        try:
            eventually(lambda: client.router.router.proxy.under_way == TURNS_PER_SERVER)
            answers = [client.resolve("a/b") for _ in range(5)]
            told = client.get(INVENTORY_PATH)
            waiting = [question for question in asked if not question.done()]
        finally:
            silent.silent.set()

    assert {answer.json()["base_url"] for answer in answers} == {sound.url}
    assert told.status_code == 200 and len(waiting) == 12


@pytest.mark.long
def test_proxy_waits_for_five_seconds(
    route: Route, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that a server answers from memory is given up after five seconds: 502."""
    monkeypatch.setattr(proxy, "MEMORY_TIMEOUT_S", MEMORY_TIMEOUT_S)
    silent = peer()
    client = route()
    eventually(lambda: client.knows(1))
    silent.silent.clear()
    begun_s = time.monotonic()

    answer = client.get(proxy_path(Member(silent.url).server_id, "auth-status"))

    assert answer.status_code == 502
    assert MEMORY_TIMEOUT_S == 5.0 <= time.monotonic() - begun_s
    silent.silent.set()


def _load(url: str, token: str | None, **arguments: Any) -> str:
    answer = requests.post(
        url + LOAD_PATH,
        json={"path": "local/s", **arguments},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    )
    return str(answer.json()["fingerprint"])


def _of(client: Client, url: str) -> Any:
    (found,) = [s for s in client.get(SERVERS_PATH).json()["servers"] if s["base_url"] == url]
    return found


def test_new_clients_go_to_the_idle_server(route: Route, serve: Serve, tmp_path: Path) -> None:
    """Of two servers with the same rows the one that sends to nobody gets the next clients."""
    folder = tmp_path / "large"
    texts = [str(row).ljust(1 << 17, "x") for row in range(256)]
    Dataset.from_dict({"text": texts}).save_to_disk(str(folder))
    busy, idle = serve(large=folder), serve(large=folder)
    client = route()
    eventually(lambda: client.knows(2))
    headers = {"Authorization": f"Bearer {busy.token}"}
    loaded = requests.post(
        busy.url + LOAD_PATH, json={"path": "local/large"}, headers=headers, timeout=60
    ).json()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            # Nobody reads them, so they stay under way.
            stack.enter_context(
                requests.get(
                    busy.url + iter_path(loaded["handle"]), headers=headers, stream=True, timeout=60
                )
            )
        eventually(lambda: _told_streams(client, busy) == 20)
        counts = Counter(client.chosen("local/large") for _ in range(10))

    assert counts == {idle.url: 10}
    eventually(lambda: _told_streams(client, busy) == 0)


def _told_streams(client: Client, server: Server) -> float | None:
    loads = {s.member.base_url: s.load for s in client.router.router.knowledge.servers()}
    load = loads[server.url]
    return load.streams if load else None
