"""Looking at the rows of real servers through a real router: pages, links, values, errors."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clusters import FAST, MakePeer, Serve, eventually, register
from datasets import Dataset, load_from_disk
from explored import HOSTILE, conversations, everything, hostile, pictures, save
from ports import free_port
from scenes import CACHE, GB, LOCALS, cached, holds
from visitors import TOKEN, Visitor, visitor
from werkzeug.test import TestResponse

from fdss.client.loader import fast_load_iterable_dataset
from fdss.config import ServerConfig
from fdss.errors import Unavailable
from fdss.router.asking import AskFailed
from fdss.router.membership import Member, server_id_of
from fdss.router.names import registry_file
from fdss.router.registry import Registry, RegistryMembership
from fdss.router.router import Router
from fdss.serving import Server
from fdss.web import explore_opening
from fdss.web.explore_opening import Opened
from fdss.web.explore_queue import Queue
from fdss.web.sessions import Sessions
from fdss.wire.names import LOAD_PATH, LOCAL_PATH, iter_path, length_path

ROWS = 400


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Save the datasets that the tests look at."""
    folder = tmp_path_factory.mktemp("shelf")
    wide = {f"column_{number:04}": [number, -number] for number in range(1_000)}
    made = {
        "talk": conversations(ROWS),
        "pictures": pictures(),
        "hostile": hostile(),
        "everything": everything(),
        "wide": Dataset.from_dict(wide),
        "huge": Dataset.from_dict({"n": [1], "text": ["z" * 20_000_000]}),
        "large": Dataset.from_dict({"n": list(range(30)), "text": ["y" * 1_500_000] * 30}),
    }
    return {name: save(dataset, folder / name) for name, dataset in made.items()}


@dataclass(frozen=True)
class Stand:
    """A server with the shelf, and a router that knows it."""

    router: Router
    server_id: str


@pytest.fixture(scope="module")
def stand(shelf: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Start a server and a router, once: nothing that a page does changes them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp("home")))
        server = Server(ServerConfig(port=0, local=shelf)).__enter__()
        server_id = register(server.url, server.token)
        memberships = [RegistryMembership(Registry(registry_file()))]
        router = Router(memberships, rhythm=FAST, is_guarded=True).__enter__()
    eventually(lambda: getattr(router.knowledge.get(server_id), "offer", None))
    yield Stand(router, server_id)
    router.close()
    server.close()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a dataset rather than show a page that waits."""
    monkeypatch.setattr("fdss.web.explore_opening.PATIENCE_S", 600.0)


@dataclass(frozen=True)
class Looker:
    """Somebody who looks at the datasets of the shelf."""

    guest: Visitor
    server_id: str

    def __call__(self, path: str = "local/talk", kind: str = "rows", **query: Any) -> TestResponse:
        """Look at a dataset: at a page of rows, unless told otherwise."""
        told = {name: str(value) for name, value in {"path": path, **query}.items()}
        return self.guest.client.get(f"/explore/{self.server_id}/{kind}", query_string=told)

    def get(self, address: str, **headers: str) -> TestResponse:
        """Follow a link."""
        return self.guest.get(address, **headers)


@pytest.fixture(scope="module")
def look(stand: Stand) -> Looker:
    """Return somebody who has logged in, and looks."""
    guest = visitor(stand.router)
    guest.log_in()
    return Looker(guest, stand.server_id)


def _text(page: TestResponse) -> str:
    bare = re.sub(r"<[^>]*>", "", re.sub(r"<head>.*?</head>", "", page.text, flags=re.DOTALL))
    return re.sub(r"\s+", " ", html.unescape(bare))


def _links(page: TestResponse, pattern: str) -> list[str]:
    found = [html.unescape(link) for link in re.findall('href="([^"]*)"', page.text)]
    return [link for link in found if re.search(pattern, link)]


def _told(page: TestResponse, status: int) -> str:
    assert page.status_code == status, page.text[-2_000:]
    return _text(page)


def test_a_row_is_reached_by_links_alone(look: Looker) -> None:
    """From the list of servers to a row, and back to the table, there is a link on every page."""
    server_id = look.server_id
    servers = look.get("/explore")
    (server,) = _links(servers, f"/explore/{server_id}")
    listed = look.get(server)
    (split,) = _links(listed, "talk.*split=validation")
    table = look.get(split)
    row = look.get(_links(table, "/row\\?.*position=3")[0])
    back = look.get(_links(row, "/rows\\?.*position=3")[0])

    assert "local/talk" in _told(listed, 200)
    assert f"of {ROWS // 8}" in _told(table, 200)
    assert "Row 3" in _told(row, 200)
    assert "Rows 3 – 27" in _told(back, 200)


def test_a_page_shows_rows_types_and_distributions(look: Looker, shelf: dict[str, Path]) -> None:
    """A table has the columns with their types, a chart each, and the rows that were asked for."""
    page = look(position=50, limit=25)
    stored = load_from_disk(str(shelf["talk"]))["train"]
    text = _told(page, 200)

    assert f"Rows 50 – 74 of {ROWS}" in text
    for row in stored.select(range(50, 75)):
        assert row["prompt"][:200] in text
    for words in ("int64", "label, one of 3", "list of int32", "timestamp[s]"):
        assert words in text
    assert page.text.count('role="img"') == len(stored.column_names)
    assert re.search(r'aria-label="values: neutral \(0\): \d+', page.text)


def test_pages_follow_one_another(look: Looker) -> None:
    """Going on from page to page shows every row once, and the last page ends it."""
    seen: list[int] = []
    page = look("local/talk", split="test", limit=25)
    while True:
        assert page.status_code == 200
        seen += [int(at) for at in re.findall(r'id="row-(\d+)"', page.text)]
        following = re.search(r'data-to="next"[^>]*href="([^"]*)"', page.text)
        if following is None:
            break
        page = look.get(html.unescape(following[1]))

    assert seen == list(range(ROWS // 10))


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_the_order_of_a_seed_is_that_of_a_client(
    look: Looker, shelf: dict[str, Path], seed: int
) -> None:
    """With a seed a page has the rows, in order, that ``shuffle(seed)`` gives a client."""
    dataset = fast_load_iterable_dataset(str(shelf["talk"]), split="train").shuffle(seed=seed)
    expected = [row["id"] for row in dataset][100:150]
    page = look(seed=seed, position=100, limit=50)

    found = re.findall(r'<td class="is-number"><bdi class="value is-number">(\d+)</bdi>', page.text)
    stored = re.findall(r'<small title="Number of the stored row">([\d,]+)</small>', page.text)
    assert [int(number) for number in found[:50]] == expected
    assert [int(number.replace(",", "")) for number in stored] == expected


def test_a_row_is_the_same_by_its_link(look: Looker) -> None:
    """The link of a row in a shuffled table shows and gives that row."""
    table = look(seed=3, position=10)
    link = _links(table, "/row\\?.*seed=3.*position=12")[0]
    page = look.get(link)
    given = look.get(_links(page, "row.json")[0])

    row = given.get_json()
    assert given.headers["Content-Type"] == "application/json; charset=utf-8"
    assert row["prompt"] in _told(page, 200)
    assert row["prompt"][:150] in _text(table)
    assert f"stored as row {row['id']:,}" in _text(page)


def test_every_feature_has_a_page(look: Looker) -> None:
    """Columns of all kinds of features can be looked at, as pages, rows and JSON."""
    first = look("local/everything")
    further = look.get(_links(first, "first=40")[0])
    row = look("local/everything", "row", position=2)
    given = look("local/everything", "row.json", position=2)

    assert "Columns 1 to 40 of" in _told(first, 200)
    assert "Columns 41 to 80 of" in _told(further, 200)
    assert "Columns 1 to 40 of" in _told(row, 200)
    assert json.loads(given.get_data())


def test_media_come_from_their_bytes(look: Looker) -> None:
    """Images and sounds are sent as their own bytes say, in whole and in parts."""
    page = look("local/pictures")
    found = [html.unescape(link) for link in re.findall(r'src="([^"]*/media[^"]*)"', page.text)]
    types = {look.get(link).headers["Content-Type"] for link in found}

    assert types == {f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "bmp")} | {
        "audio/wav"
    }
    assert any("&at=2" in link for link in found)
    sound = next(link for link in found if look.get(link).headers["Content-Type"] == "audio/wav")
    part = look.get(sound, Range="bytes=0-3")
    assert (part.status_code, part.get_data()) == (206, b"RIFF")
    assert part.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_no_path_of_a_server_is_told(look: Looker) -> None:
    """Of the path of an image the page, the row and its JSON have the last component only."""
    shown = [
        look("local/pictures", kind, position=1, **more)
        for kind, more in (
            ("rows", {}),
            ("row", {}),
            ("row.json", {}),
            ("cell", {"column": 4}),
            ("cell", {"column": 0, "at": "1"}),
        )
    ]

    assert [answer.status_code for answer in shown] == [200, 200, 200, 200, 404]
    assert not [answer for answer in shown if b"secret" in answer.get_data()]
    assert "photo-001" in shown[0].text


def test_hostile_cells_are_text(look: Looker) -> None:
    """Cells and names of columns with markup and control characters are shown as they read."""
    page = look("local/hostile")
    text = _told(page, 200)

    for cell in HOSTILE[:3]:
        assert cell not in page.text
        assert html.escape(cell, quote=True).replace("&#x27;", "&#39;") in page.text
    assert "\\u202egnp.exe" in text and "a\\x00b\\x1b[31mred\\x07" in text
    assert "{{ 7*7 }}{% raw %}" in text
    assert not re.search("[\x00\x1b\u202e]", page.text)
    assert "1,000,000 characters" in text
    assert len(page.get_data()) < 400_000


def test_the_whole_of_a_cell_is_given(look: Looker) -> None:
    """What a page leaves out is behind a link: text as text, bytes as a file, lists as JSON."""
    page = look("local/hostile")
    whole = look.get(_links(page, "/cell\\?.*position=10.*column=0")[0])
    drawing = look("local/hostile", "cell", position=0, column=2)
    nested = look("local/hostile", "cell", position=0, column=3)

    assert whole.get_data() == b"x" * 1_000_000
    assert whole.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert drawing.headers["Content-Type"] == "application/octet-stream"
    assert drawing.headers["Content-Disposition"].startswith("attachment")
    assert nested.get_json() == [{"<i>key</i>": HOSTILE[0]}]
    for answer in (whole, drawing, nested):
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_drawing_with_scripts_is_never_shown(look: Looker) -> None:
    """An SVG in a column of images is told, and not given as an image."""
    page = look("local/hostile")

    assert "image of a format that no browser shows" in _text(page)
    assert "/media?" not in page.text
    assert look("local/hostile", "media", position=0, column=2).status_code == 404


def test_many_columns_are_on_several_pages(look: Looker) -> None:
    """Of a thousand columns a page has 40, and asks its server for no more."""
    page = look("local/wide")
    further = look.get(_links(page, "first=40")[0])
    only = look("local/wide", only=999)

    assert "Columns 1 to 40 of 1,000" in _told(page, 200)
    assert "column_0079" in _told(further, 200)
    assert "column_0039" not in _text(further)
    assert "column_0999" in _told(only, 200)
    assert "One of 1,000 columns" in _text(only)


def test_large_rows_make_short_pages(look: Looker) -> None:
    """Where rows are large a page has fewer of them, says so, and the next one goes on there."""
    page = look("local/large")
    shown = re.findall(r'id="row-(\d+)"', page.text)
    following = re.search(r'data-to="next"[^>]*href="[^"]*position=(\d+)', page.text)

    assert "These rows are large" in _told(page, 200)
    assert 0 < len(shown) < 25
    assert following is not None and int(following[1]) == len(shown)


def test_a_row_that_is_too_large_leads_to_its_columns(look: Looker) -> None:
    """Where one row alone is too large, its columns can be looked at one by one."""
    page = look("local/huge")
    number, text = _links(page, "only=")

    assert "alone has more than 16 MiB" in _told(page, 502)
    assert "One of 2 columns is shown" in _told(look.get(number), 200)
    assert look.get(text).status_code == 502


def test_an_empty_dataset_is_told(peer: MakePeer, guest: Visitor) -> None:
    """A dataset without rows has a page that says so, and no row."""
    empty = peer()
    empty.answers[LOAD_PATH] = {"handle": "h1", "length": 0, "column_names": ["x"], "features": {}}
    for limit in (25, 1):
        empty.answers[f"{iter_path('h1')}?position=0&limit={limit}&types=tagged"] = 200
    empty.answers[length_path("h1")] = {"length": 0}
    address = f"/explore/{server_id_of(empty.url)}"

    assert "The dataset has no rows." in _told(guest.get(f"{address}/rows?path=local/x"), 200)
    for kind in ("row", "row.json", "cell"):
        assert guest.get(f"{address}/{kind}?path=local/x&column=0").status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"path": "local/nobody"}, 404, "local/nobody"),
        ({"split": "nothing"}, 404, "nothing"),
        ({"split": "train["}, 400, "train["),
        ({"position": ROWS}, 404, f"Position {ROWS} is past the end"),
        ({"position": "-1"}, 400, "position"),
        ({"position": "ten"}, 400, "position"),
        ({"seed": 2**64}, 400, "seed"),
        ({"limit": 10_000}, 400, "25, 50, 100"),
        ({"first": 100}, 400, "7 columns"),
        ({"path": ""}, 400, "path"),
        ({"path": "x" * 5_000}, 400, "too long"),
        ({"path": "/etc/passwd"}, 403, "--allow-paths"),
        ({"path": "nobody/nothing"}, 404, "--allow-downloads"),
    ],
)
def test_what_cannot_be_shown_is_told(
    look: Looker, query: dict[str, Any], status: int, words: str
) -> None:
    """A refusal has the right status, says what was wrong, and leads back."""
    page = look(**query)

    assert words in _told(page, status)
    assert "Try again" in page.text
    assert "Traceback" not in page.text


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 400), ({"column": 99}, 404), ({"column": 0, "at": "0"}, 404), ({"column": "x"}, 400)],
)
def test_cells_that_are_not_there_are_refused(
    look: Looker, query: dict[str, Any], status: int
) -> None:
    """A cell without a column, or at a place that no value has, is an error."""
    assert look(kind="cell", **query).status_code == status
    assert look(kind="media", **query).status_code == status


def test_nobody_looks_without_a_login(router: Router) -> None:
    """Every address below /explore leads to the login."""
    stranger = visitor(router)
    for kind in ("", "/" + "0" * 12, *(f"/{'0' * 12}/{k}?path=x" for k in KINDS)):
        answer = stranger.get(f"/explore{kind}")
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/login?next=")


KINDS = ("rows", "row", "row.json", "cell", "media")


def test_only_members_are_asked(guest: Visitor) -> None:
    """A server that is no member is not found, whatever its name looks like."""
    for name in ("0" * 12, "127.0.0.1:22", "..%2f..%2fetc", "http:%2f%2fevil"):
        for kind in ("", *(f"/{kind}?path=x&column=0" for kind in KINDS)):
            assert guest.get(f"/explore/{name}{kind}").status_code == 404


def test_a_server_that_died_is_told(
    serve: Serve, shelf: dict[str, Path], router: Router, guest: Visitor
) -> None:
    """When a server is gone, its pages say so, what it had stays listed, and nothing hangs."""
    server = serve(talk=shelf["talk"])
    server_id = server_id_of(server.url)
    address = f"/explore/{server_id}/rows?path=local/talk"
    eventually(lambda: guest.get(address).status_code == 200)
    eventually(lambda: getattr(router.knowledge.get(server_id), "offer", None))
    server.close()

    page = guest.get(address)
    assert "did not answer as it should" in _told(page, 502)
    eventually(lambda: getattr(router.knowledge.get(server_id), "is_healthy", None) is False)
    listed = _told(guest.get(f"/explore/{server_id}"), 200)
    assert "did not answer its last health check" in listed
    assert "local/talk" in listed


def test_a_refused_token_is_told(
    serve: Serve, shelf: dict[str, Path], router: Router, guest: Visitor
) -> None:
    """A server that wants another token than the router has is told apart from our own login."""
    server = serve(registered=False, talk=shelf["talk"])
    added = Registry(registry_file()).add(Member(server.url, "wr0ng" * 8, "mine"))
    address = f"/explore/{added.member.server_id}/rows?path=local/talk"

    page = guest.get(address)
    text = _told(page, 502)
    assert "The server refused the router's token" in text
    assert "wr0ng" not in page.text


def test_a_slow_server_is_waited_for(
    peer: MakePeer, guest: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that takes long to open has a page that says so, which comes again by itself."""
    monkeypatch.setattr("fdss.web.explore_opening.PATIENCE_S", 0.05)
    slow = peer()
    slow.answers[LOAD_PATH] = {"handle": "h", "length": 3, "column_names": ["x"], "features": {}}
    slow.loads.clear()
    address = f"/explore/{server_id_of(slow.url)}/rows?path=local/x"
    page = guest.get(address)
    value = guest.get(address.replace("/rows", "/cell") + "&column=0")
    slow.loads.set()

    assert "is opening the dataset" in _told(page, 202)
    assert page.headers["Refresh"] == "2"
    assert (value.status_code, value.headers["Retry-After"]) == (503, "2")
    eventually(lambda: guest.get(address).status_code == 404)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"handle": 7, "length": 1, "column_names": []},
        {"handle": "../x", "length": 1, "column_names": ["x"], "features": {}},
        {"handle": "h", "length": "many", "column_names": ["x"]},
        {"handle": "h", "length": 1, "column_names": ["\ud800"], "features": {"\ud800": 1}},
        {"handle": "h", "length": 1, "column_names": [["x"]]},
    ],
)
def test_nonsense_of_a_server_is_told(peer: MakePeer, guest: Visitor, answer: Any) -> None:
    """A server that answers nonsense makes a page that tells so, and no failure of the router."""
    odd = peer()
    odd.answers[LOAD_PATH] = answer
    page = guest.get(f"/explore/{server_id_of(odd.url)}/rows?path=local/x")

    assert page.status_code in (404, 502)
    assert "The router failed" not in page.text


def test_what_is_kept_of_a_dataset_is_bounded() -> None:
    """Types of more values than a page can show are left out, and endless names refused."""
    told = {"handle": "h", "length": 1, "column_names": ["c"], "fingerprint": "f" * 10_000}
    many = {"c": [{"a": 1}] * explore_opening.MOST_VALUES}
    small = {"c": {"_type": "Value", "dtype": "string"}}

    assert Opened.of({**told, "features": small}).features == small
    assert Opened.of({**told, "features": many}).features == {}
    assert len(Opened.of(told | {"features": small}).fingerprint) == 200
    with pytest.raises(AskFailed, match="too long"):
        Opened.of({**told, "column_names": ["c" * explore_opening.MOST_CHARACTERS]})


def test_hostile_names_of_datasets_are_text(peer: MakePeer, router: Router, guest: Visitor) -> None:
    """Datasets, splits and servers whose names are markup are listed as text."""
    name = "<script>alert(1)</script>"
    odd = peer(label=f"{name}\u202e")
    locals_ = [*LOCALS, {"name": "a\u202eb", "splits": [{"name": 7}, 3]}]
    holds(odd, (cached(f"a/{name}", {name: 1}, GB, name),), locals_)
    server_id = server_id_of(odd.url)
    eventually(lambda: len(router.inventory()["datasets"]) >= len(LOCALS) + 1)
    for address in ("/explore", f"/explore/{server_id}", f"/explore/{server_id}?source=cache"):
        page = guest.get(address)
        assert page.status_code == 200
        assert name not in page.text and "\u202e" not in page.text
    assert html.escape(name) in page.text


def test_lists_are_searched_and_paged(peer: MakePeer, router: Router, guest: Visitor) -> None:
    """Two thousand datasets are a list of short pages with a search, found without a request."""
    full = peer("full")
    many = [cached(f"team/data-{number:04}", {"train": number}, 1) for number in range(2_000)]
    holds(full, [*CACHE, *many], LOCALS)
    server_id = server_id_of(full.url)
    eventually(lambda: len(router.inventory()["datasets"]) == len([*CACHE, *many, *LOCALS]))
    full.asked.clear()
    first = guest.get(f"/explore/{server_id}?source=cache")
    last = guest.get(f"/explore/{server_id}?source=cache&page=99")
    found = guest.get(f"/explore/{server_id}?source=cache&q=DATA-0042")
    nothing = guest.get(f"/explore/{server_id}?source=cache&q=zzz")

    assert "Page 1 of 21" in _told(first, 200)
    assert len(first.get_data()) < 80_000
    assert "Page 21 of 21" in _told(last, 200)
    assert _text(found).count("team/data-") == 1
    assert "Nothing here has “zzz” in its name" in _told(nothing, 200)
    assert not {LOCAL_PATH, LOAD_PATH} & set(full.asked) or full.asked.count(LOCAL_PATH) < 5


def test_a_list_is_asked_for_again(serve: Serve, shelf: dict[str, Path], guest: Visitor) -> None:
    """What a server has is asked for anew on request, also before the router knows it."""
    server = serve(talk=shelf["talk"])
    page = guest.get(f"/explore/{server_id_of(server.url)}?fresh=1")

    assert "local/talk" in _told(page, 200)
    assert "a moment ago" in _text(page)


def test_a_server_that_forgot_is_asked_anew(
    shelf: dict[str, Path],
    tmp_path: Path,
    router: Router,
    guest: Visitor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that was started anew and knows no handle opens the dataset again."""
    config = ServerConfig(port=free_port(), local={"talk": shelf["talk"]}, auth_token="a" * 64)
    with Server(config) as server:
        register(server.url, "a" * 64)
        address = f"/explore/{server_id_of(server.url)}/rows?path=local/talk"
        eventually(lambda: guest.get(address).status_code == 200)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    with Server(config):
        assert f"of {ROWS}" in _told(guest.get(address), 200)


def test_many_who_look_are_one_load(peer: MakePeer, router: Router, guest: Visitor) -> None:
    """Pages of one dataset, asked for at once, wait for one answer of its server."""
    slow = peer()
    slow.answers[LOAD_PATH] = {"handle": "h1", "length": 3, "column_names": ["x"], "features": {}}
    slow.loads.clear()
    address = f"/explore/{server_id_of(slow.url)}/rows?path=local/x&position=9"
    others = [visitor(router) for _ in range(4)]
    app = guest.client.application
    with ThreadPoolExecutor() as pool:
        cookie = guest.client.get_cookie(Sessions(TOKEN).cookie)
        assert cookie is not None
        for other in others:
            other.client = app.test_client()
            other.client.set_cookie(cookie.key, cookie.value)
        pages = [pool.submit(other.get, address) for other in others]
        eventually(lambda: LOAD_PATH in slow.asked)
        slow.loads.set()
        statuses = {page.result().status_code for page in pages}

    assert statuses == {404}
    assert slow.asked.count(LOAD_PATH) == 1


def test_turns_at_a_server_are_waited_for() -> None:
    """Beyond the turns at a server one waits for another's end, and not for ever."""
    queue = Queue(turns=1, wait_s=0.05)
    with queue.turn("a"), queue.turn("b"), pytest.raises(Unavailable), queue.turn("a"):
        pass
    patient = Queue(turns=1, wait_s=600.0)
    with ThreadPoolExecutor() as pool:
        order: list[int] = []

        def take(number: int) -> None:
            with patient.turn("a"):
                order.append(number)

        with patient.turn("a"):
            waiting = [pool.submit(take, number) for number in range(3)]
            assert order == []
        for each in waiting:
            each.result()

    assert sorted(order) == [0, 1, 2]
