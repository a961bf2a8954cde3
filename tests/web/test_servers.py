"""The list of servers, adding and removing them, their bundles, and the page of one."""

from __future__ import annotations

import re
import time
from typing import Any

import orjson
import pytest
from clusters import FAST, MakePeer, eventually, register
from scenes import CACHE, GB, HANDLES, LOCALS, MB, cached, holds
from visitors import Visitor, visitor

from fdss.router.membership import Member
from fdss.router.names import registry_file
from fdss.router.registry import Registry, RegistryMembership
from fdss.router.router import Router
from fdss.wire.names import HEALTH_PATH, LOCAL_PATH, MAX_COUNT

SECRET = "s3cret-" + "x" * 40
HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


def _bundle(host: str = "data-9.example", scheme: str = "") -> str:
    return f"forgather-dataset://{host}:8766/?token={SECRET}{scheme}"


def _tokens() -> list[str]:
    return [entry.member.auth_token for entry in Registry(registry_file()).entries()]


def _state(router: Router, key: str) -> object:
    """Return what is known of the one server; None before it is."""
    servers = router.server_list()["servers"]
    return servers[0][key] if servers else None


def _refreshed_at_s(router: Router) -> float:
    at_s = _state(router, "last_dataset_refresh")
    return at_s if isinstance(at_s, float) else 0.0


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_a_server_is_added_by_its_bundle(guest: Visitor) -> None:
    """A bundle adds the server it names, which is shown at once; the token is shown nowhere."""
    fields = {
        "bundle": f"  {_bundle(scheme='&scheme=https')}\n",
        "label": "nine",
        "verify_tls": "1",
    }
    answer = guest.send("/servers/add", fields)

    assert answer.status_code == 303
    page = guest.get(answer.headers["Location"])
    listed = guest.get("/servers")
    assert page.status_code == 200
    assert "https://data-9.example:8766" in page.text
    assert _tokens() == [SECRET]
    assert SECRET not in page.text + listed.text + guest.get("/cluster").text


def test_a_server_is_added_by_its_url(guest: Visitor) -> None:
    """URL, token, label and the box for TLS are what the registry gets."""
    fields = {"base_url": "https://data-8.example:1/", "auth_token": SECRET, "label": " eight "}
    guest.send("/servers/add", fields)

    (entry,) = Registry(registry_file()).entries()
    assert entry.member.base_url == "https://data-8.example:1"
    assert (entry.member.label, entry.member.auth_token) == ("eight", SECRET)
    assert entry.member.verify_tls is False


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bundle": "http://data-9.example:8766"},
        {"bundle": _bundle("data 9")},
        {"base_url": "ftp://data-9.example"},
        {"base_url": f"http://user:{SECRET}@data-9.example"},
        {"base_url": "http://data-9.example:1", "auth_token": f"{SECRET} {SECRET}"},
        {"base_url": "http://data-9.example:1", "label": "x" * 201},
    ],
    ids=str,
)
def test_what_is_no_server_is_told_on_the_form(guest: Visitor, fields: dict[str, str]) -> None:
    """A form that names no server comes back with the reason, and without token or bundle."""
    answer = guest.send("/servers/add", fields)

    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert fields.get("auth_token", SECRET) not in answer.text
    assert Registry(registry_file()).entries() == []


def test_a_server_is_removed_after_a_question(guest: Visitor, router: Router) -> None:
    """Remove asks first, and then takes the server out of the list."""
    server_id = register("http://data-7.example:1", "token", "seven")
    eventually(lambda: router.server_list()["servers"])

    question = guest.get(f"/servers/{server_id}/remove")
    assert "Remove seven?" in question.text
    assert len(Registry(registry_file()).entries()) == 1
    assert guest.send(f"/servers/{server_id}/remove", {}).headers["Location"] == "/servers"

    assert Registry(registry_file()).entries() == []
    assert guest.send(f"/servers/{server_id}/remove", {}).status_code == 404
    assert guest.get(f"/servers/{server_id}").status_code == 404


def test_a_bundle_is_given_to_a_form_only(guest: Visitor) -> None:
    """The bundle holds the token, comes with a warning, and never by following a link."""
    server_id = register("https://data-7.example:1", SECRET, "seven")
    answer = guest.send(f"/servers/{server_id}/bundle", {})

    bundle = f"forgather-dataset://data-7.example:1/?token={SECRET}&amp;scheme=https"
    assert f'value="{bundle}"' in answer.text
    assert "This line is a credential" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert guest.get(f"/servers/{server_id}/bundle").status_code == 405
    assert guest.client.post(f"/servers/{server_id}/bundle").status_code == 403


def test_without_a_token_servers_are_neither_added_nor_given_away(home: object) -> None:
    """A router without a token offers no form that changes the registry, and refuses them all."""
    server_id = register("http://data-7.example:1", SECRET)
    with Router([RegistryMembership(Registry(registry_file()))], rhythm=FAST) as router:
        anybody = visitor(router, token=None)
        eventually(lambda: router.server_list()["servers"])
        anybody.page = f"/servers/{server_id}"
        shown = anybody.get("/servers").text + anybody.get(f"/servers/{server_id}").text
        answers = [
            anybody.send("/servers/add", {"bundle": _bundle()}),
            anybody.send(f"/servers/{server_id}/remove", {}),
            anybody.send(f"/servers/{server_id}/bundle", {}),
        ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert all("This router wants no token" in answer.text for answer in answers)
    assert "Copy bundle" not in shown
    assert "Add a server" not in shown
    assert _tokens() == [SECRET]


def test_the_page_of_a_server_shows_what_it_has(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """Cache, locals and handles are listed with rows and sizes, and lead to their rows."""
    first = peer("one", streams=3, bytes_per_s=2.5 * MB)
    holds(first, CACHE, LOCALS, HANDLES)
    server_id = register(first.url, label="one")
    eventually(lambda: len(router.inventory()["datasets"]) == len(CACHE) + len(LOCALS))
    page = guest.get(f"/servers/{server_id}").text
    text = _text(page)

    assert "HF cache 56.6 GB" in text
    assert "2.5 MB/s" in text
    assert "1,450,322" in text
    assert "b4c1a7d92e03f586" in text
    path = "path=allenai%2Fc4&amp;name=en&amp;split=validation"
    assert f'href="/explore/{server_id}/rows?{path}"' in page
    assert f'href="/explore/{server_id}/rows?path=local%2Fstories&amp;split=train"' in page


def test_tables_are_sorted_and_searched_by_their_address(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """Headings are links that sort, and a search keeps what has all of its words."""
    first = peer("one")
    holds(first, CACHE)
    server_id = register(first.url, label="one")
    eventually(lambda: router.inventory()["datasets"])

    def names(query: str) -> list[str]:
        page = guest.get(f"/servers/{server_id}?{query}").text
        return re.findall(r'<th scope="row"><a class="name" href="/explore/[^"]+">([^<]+)', page)

    assert names("")[0] == "allenai/c4"
    assert names("cache.sort=-size")[:2] == ["HuggingFaceFW/fineweb-edu", "allenai/c4"]
    assert names("cache.sort=rows")[0] == "openai/gsm8k"
    assert names("cache.q=train%20OPEN") == ["openai/gsm8k"]
    assert names("cache.q=nothing") == []
    page = guest.get(f"/servers/{server_id}?cache.sort=-size").text
    assert 'aria-sort="descending"' in page
    assert f'href="/servers/{server_id}?cache.sort=size"' in page
    for odd in ("cache.sort=odd", "cache.page=0", "cache.page=x", "cache.page=-1"):
        assert guest.get(f"/servers/{server_id}?{odd}").status_code == 400


def test_a_server_that_is_down_is_told_with_what_helps(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """A server that fails is shown as down, with the reason, beside what it last told."""
    first = peer("one")
    holds(first, CACHE)
    server_id = register(first.url, label="one")
    eventually(lambda: router.inventory()["datasets"])
    first.answers[HEALTH_PATH] = 503
    eventually(lambda: _state(router, "healthy") is False)
    page = _text(guest.get(f"/servers/{server_id}").text)

    assert "This server is down. /v1/health answered 503" in page
    assert "fdss status --server" in page
    assert "allenai/c4" in page
    assert "down" in _text(guest.get("/servers").text)


@pytest.mark.parametrize(("token", "word"), [("old", "refused"), ("", "missing")])
def test_a_token_that_is_not_taken_is_told(
    guest: Visitor, peer: MakePeer, router: Router, token: str, word: str
) -> None:
    """A server that answers 401 shows its token as refused, or as missing if there was none."""
    first = peer("one")
    first.answers[LOCAL_PATH] = 401
    server_id = register(first.url, token, "one")
    eventually(lambda: _state(router, "token") == word)

    assert f'<span class="chip bad">{word}</span>' in guest.get("/servers").text
    assert "Add" in guest.get(f"/servers/{server_id}").text
    assert "again with its" in _text(guest.get(f"/servers/{server_id}").text)


def test_latency_is_that_of_the_last_health_check(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """A healthy server has a latency, and none once it is down."""
    first = peer("one")
    eventually(lambda: _state(router, "healthy"))
    latency_s = _state(router, "latency_s")
    assert isinstance(latency_s, float)
    assert 0 < latency_s < 60
    assert re.search(r"\d ms|\d s", guest.get("/servers").text)

    first.answers[HEALTH_PATH] = 503
    eventually(lambda: _state(router, "healthy") is False)

    assert _state(router, "latency_s") is None


def test_what_servers_tell_is_text(guest: Visitor, peer: MakePeer, router: Router) -> None:
    """Markup in labels, names, splits and errors of a server is shown and never made."""
    first = peer(HOSTILE)
    hostile = [cached(HOSTILE, {HOSTILE: 1}, GB, HOSTILE)]
    handle = {"handle": HOSTILE, "length": 1, "load_args": {"path": HOSTILE, "split": HOSTILE}}
    holds(first, hostile, [{"name": HOSTILE, "meta_hash": HOSTILE, "splits": []}], [handle])
    server_id = register(first.url, label=HOSTILE)
    eventually(lambda: router.inventory()["datasets"])
    pages = [guest.get(p).text for p in ("/servers", f"/servers/{server_id}", "/cluster")]
    pages.append(guest.get(f"/servers/{server_id}?cache.q={HOSTILE}").text)
    pages.append(guest.get(f"/servers/{server_id}/remove").text)
    pages.append(guest.send(f"/servers/{server_id}/bundle", {}).text)

    for page in pages:
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "49" not in page.partition("alert(1)")[2][:60]
        assert f"'{HOSTILE[-5:]}" not in page


def test_odd_answers_of_a_server_make_odd_rows_and_no_error(
    guest: Visitor, peer: MakePeer, router: Router
) -> None:
    """Values of other types than a server should tell are left out or unknown."""
    first = peer("one")
    odd = {"repo": "odd", "configs": [7, {"config": 3, "splits": 4, "size_bytes": "x"}, None]}
    config = {"config": "c", "splits": [1, {"name": 2}, {"name": "s"}], "size_bytes": [1]}
    more = {"repo": "more", "configs": [config, {"config": ["c"]}]}
    large = {"name": "t", "num_examples": MAX_COUNT}
    locals_: list[dict[str, Any]] = [
        {"name": "l", "splits": None, "size_bytes": -1},
        {"name": "sum", "splits": [large, {**large, "name": "u"}], "size_bytes": 1 << 64},
        {"name": "none", "splits": [{"name": "t", "num_examples": {"a": 1}}]},
        {"name": "n" * 1_001},
        {"name": "INFO forged\nline"},
    ]
    holds(first, [odd, more, {"repo": "r", "configs": 5}], locals_, [{"handle": "h"}])
    server_id = register(first.url, label="one")
    named = ["local/l", "local/none", "local/sum", "more"]
    eventually(lambda: len(router.inventory()["datasets"]) >= len(named))
    told = router.inventory()["datasets"]

    assert [dataset["dataset_id"] for dataset in told] == named
    assert {dataset["length"] for dataset in told} == {dataset["size_bytes"] for dataset in told}
    assert orjson.dumps(told)

    for path in ("/servers", f"/servers/{server_id}", "/cluster"):
        for sort in ("", "?cache.sort=-rows", "?cache.sort=size", "?loaded.sort=split"):
            assert guest.get(path + sort).status_code in (200, 400)
        assert guest.get(path).status_code == 200


def test_asking_again_asks_the_server(guest: Visitor, peer: MakePeer, router: Router) -> None:
    """The button asks the server for what it has, and leads back to its page."""
    first = peer("one")
    server_id = register(first.url, label="one")
    eventually(lambda: router.server_list()["servers"])
    begun = time.time()
    answer = guest.send(f"/servers/{server_id}/refresh", {})

    assert answer.headers["Location"] == f"/servers/{server_id}"
    eventually(lambda: (_refreshed_at_s(router)) >= begun)


@pytest.mark.parametrize(
    ("url", "verify_tls", "word"),
    [
        ("https://data-1.example:1", True, "verified"),
        ("https://data-1.example:1", False, "not verified"),
        ("http://data-1.example:1", True, "none"),
        ("http://127.0.0.1:1", True, "not needed"),
    ],
)
def test_tls_is_told(home: object, url: str, verify_tls: bool, word: str) -> None:
    """The list says whether a server's certificate is checked, and its page warns if it is not."""
    router = Router([], is_guarded=True)
    member = Member(url, "token", "one", verify_tls, "redis")
    router.knowledge.set_members([member])
    guest = visitor(router)
    guest.log_in()
    listed = guest.get("/servers").text.partition("<tbody>")[2].partition("</tbody>")[0]

    chips = re.findall(r'<span class="chip[ a-z]*">([^<]+)</span>', listed)
    assert chips == ["set", word]
    page = guest.get(f"/servers/{member.server_id}").text
    assert ("Its certificate is not verified." in page) == (word == "not verified")


def test_a_server_that_announced_itself_is_not_removed(home: object) -> None:
    """What is not in the registry cannot be taken out of it, and the page says what helps."""
    router = Router([], is_guarded=True)
    member = Member("https://data-1.example:1", label="one", source="redis")
    router.knowledge.set_members([member])
    guest = visitor(router)
    guest.log_in()

    assert "Remove" not in guest.get("/servers").text
    for answer in (
        guest.get(f"/servers/{member.server_id}/remove"),
        guest.send(f"/servers/{member.server_id}/remove", {}),
    ):
        assert answer.status_code == 404
        assert "it has announced itself" in answer.text
