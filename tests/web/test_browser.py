"""The pages in a browser: with and without scripts, on narrow screens, while servers die."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsers import Visit
from certificates import Authority
from clusters import FAST, Client, MakePeer, Route, eventually, register
from scenes import CACHE, HANDLES, LOCALS, cached, holds, is_busy
from visitors import log_in

from fdss.bundles import parse_bundle
from fdss.config import ServerConfig
from fdss.router.config import RouterConfig
from fdss.router.names import registry_file
from fdss.router.registry import Registry
from fdss.router.serving import RouterServer
from fdss.wire.names import HEALTH_PATH

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PATHS = ("/servers", "/servers/add", "/explore", "/cluster")


@pytest.fixture
def client(route: Route) -> Client:
    """Return a client of a router."""
    return route()


@pytest.fixture
def inside(client: Client, visit: Visit) -> Any:
    """Return a call that opens a page of the router, logged in."""

    def open_page(path: str = "/servers", **options: Any) -> Page:
        # Without scripts a page stays as it was when it was asked for.
        count = len(Registry(registry_file()).entries())
        eventually(lambda: len(client.router.router.server_list()["servers"]) == count)
        page = visit(f"{client.router.url}/login?next={path}", **options)
        log_in(page, client.router.token)
        return page

    return open_page


def _tokens() -> list[str]:
    return [entry.member.auth_token for entry in Registry(registry_file()).entries()]


def _is_wider_than_its_window(page: Page) -> bool:
    script = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(page.evaluate(script))


def test_login_leads_to_the_page_that_was_wanted(client: Client, visit: Visit) -> None:
    """A wrong token is told, the right one opens the wanted page, logging out closes all."""
    page = visit(f"{client.router.url}/cluster?sets.q=a", expected=("401",))
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").get_by_text("not the token").wait_for()
    log_in(page, client.router.token)

    assert page.url == f"{client.router.url}/cluster?sets.q=a"
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()
    page.goto(f"{client.router.url}/cluster")
    page.get_by_label("Token").wait_for()


def test_a_server_is_added_by_a_pasted_bundle(inside: Any) -> None:
    """The button takes the bundle from the clipboard, and the server is listed."""
    page = inside("/servers/add", permissions=["clipboard-read", "clipboard-write"])
    bundle = "forgather-dataset://data-9.example:8766/?token=secret"
    page.evaluate("text => navigator.clipboard.writeText(text)", f" {bundle}\n")
    page.get_by_role("button", name="Paste from clipboard").click()
    page.wait_for_function("document.getElementById('bundle').value !== ''")
    page.get_by_role("button", name="Add").first.click()
    page.get_by_role("heading", name="http://data-9.example:8766").wait_for()

    assert _tokens() == ["secret"]
    assert "secret" not in page.content()


def test_a_server_is_added_by_a_typed_bundle_and_removed(inside: Any) -> None:
    """A bundle that is typed adds a server; Remove asks, and takes it out."""
    page = inside()
    page.get_by_role("link", name="Add a server").first.click()
    page.get_by_label("Bundle").fill("forgather-dataset://data-9.example:8766/?token=secret")
    page.get_by_label("Label").first.fill("nine")
    page.get_by_role("button", name="Add").first.click()
    page.get_by_role("heading", name="nine").wait_for()
    page.get_by_role("navigation").get_by_role("link", name="Servers").click()
    page.get_by_role("link", name="Remove nine").click()
    page.get_by_role("heading", name="Remove nine?").wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_text("No server yet").wait_for()

    assert _tokens() == []


def test_the_bundle_is_copied(inside: Any, peer: MakePeer) -> None:
    """Copy bundle shows it with a warning, and the button puts it on the clipboard."""
    first = peer("one")
    register(first.url, "secret", "one")
    page = inside(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy bundle of one").click()
    page.get_by_text("This line is a credential").wait_for()
    page.get_by_role("button", name="Copy", exact=True).click()
    page.get_by_text("Copied.").wait_for()
    bundle = parse_bundle(page.evaluate("navigator.clipboard.readText()"))

    assert (bundle.url, bundle.token) == (first.url, "secret")
    page.get_by_label("Bundle of one").focus()
    assert page.evaluate("getSelection().toString()") == str(bundle)


def test_a_server_that_dies_is_seen_without_reload(inside: Any, peer: MakePeer) -> None:
    """While one looks, a server goes down, stays readable, and comes back."""
    first = peer("one")
    holds(first, CACHE, LOCALS, HANDLES)
    page = inside()
    page.get_by_role("link", name="one", exact=True).click()
    page.get_by_text("allenai/c4").first.wait_for()
    page.evaluate("window.isSame = true")
    well = first.answers[HEALTH_PATH]
    first.answers[HEALTH_PATH] = 503
    page.get_by_text("This server is down.").wait_for()
    assert page.get_by_text("allenai/c4").first.is_visible()
    page.get_by_text("one is down.").first.wait_for(state="attached")
    first.answers[HEALTH_PATH] = well
    page.get_by_text("This server is down.").wait_for(state="detached")

    assert page.evaluate("window.isSame") is True


def test_the_cluster_lives_and_can_be_paused(inside: Any, peer: MakePeer, client: Client) -> None:
    """Streams change without a reload, until Pause is pressed, and then again."""
    first = peer("one")
    is_busy(first, 1, 0)
    page = inside()
    page.clock.install()
    page.goto(f"{client.router.url}/cluster")
    tile = page.locator(".tiles div", has_text="Streams in flight")
    tile.get_by_text("1", exact=True).wait_for()
    is_busy(first, 77, 0)
    tile.get_by_text("77").wait_for()
    page.get_by_role("button", name="Pause").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    is_busy(first, 88, 0)
    eventually(lambda: client.router.router.server_list()["servers"][0]["load"]["streams"] == 88)
    page.clock.fast_forward(60_000)
    assert tile.get_by_text("77").is_visible()
    assert asked == []
    page.get_by_role("button", name="Go on").click()
    tile.get_by_text("88").wait_for()


def test_a_router_that_goes_away_is_told(visit: Visit, home: object) -> None:
    """When the router itself stops, the page says so and keeps what it shows."""
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(RouterServer(RouterConfig(ServerConfig(port=0)), FAST))
        page = visit(f"{running.url}/login?next=/cluster", expected=("ERR_", "Failed to load"))
        log_in(page, running.token)
        page.get_by_text("Servers healthy").wait_for()
    page.get_by_text("The router does not answer").wait_for()

    assert page.get_by_text("Servers healthy").is_visible()


def test_a_login_that_ends_while_one_looks_is_told(inside: Any, client: Client) -> None:
    """A page whose login is over elsewhere says that it has to be reloaded."""
    page = inside("/cluster", expected=("401",))
    second = page.context.new_page()
    second.goto(f"{client.router.url}/servers")
    second.get_by_role("button", name="Log out").click()

    page.get_by_text("The login is over: reload the page").wait_for()


def test_search_and_sorting_need_no_reload(inside: Any, peer: MakePeer) -> None:
    """Typing filters, headings sort, and focus and text stay where they were."""
    holds(peer("one"), CACHE)
    page = inside("/cluster")
    page.get_by_text("openai/gsm8k").wait_for()
    page.evaluate("window.isSame = true")
    search = page.get_by_role("searchbox", name="Find a dataset")
    search.press_sequentially("gsm")
    page.get_by_text("allenai/c4").wait_for(state="detached")
    page.get_by_text("openai/gsm8k").wait_for()
    assert "sets.q=gsm" in page.url
    assert search.input_value() == "gsm"
    assert search.evaluate("field => field === document.activeElement")
    search.fill("")
    page.get_by_text("allenai/c4").wait_for()
    section = page.locator("section", has=page.get_by_role("heading", name="Datasets"))
    section.get_by_role("link", name="Size").click()
    section.locator("th[aria-sort=descending]", has_text="Size").wait_for()

    assert section.locator("tbody th").first.inner_text().startswith("HuggingFaceFW/fineweb-edu")
    assert page.evaluate("document.activeElement.id") == "sort-sets-size"
    assert page.evaluate("window.isSame") is True


def test_everything_is_done_without_scripts(inside: Any, peer: MakePeer) -> None:
    """Reading, sorting, searching, adding, the bundle and removing work without JavaScript."""
    first = peer("one")
    holds(first, CACHE)
    page = inside("/servers", java_script_enabled=False)
    assert page.get_by_role("button", name="Pause").count() == 0
    page.get_by_role("link", name="one", exact=True).click()
    eventually(lambda: page.reload() and page.get_by_text("allenai/c4").count())
    page.get_by_role("link", name="Rows", exact=True).click()
    page.locator("th[aria-sort]", has_text="Rows").wait_for()
    page.wait_for_load_state()
    assert page.locator("tbody th").first.inner_text() == "allenai/c4\nen"
    page.get_by_role("searchbox", name="Find in the cache").fill("imdb")
    page.get_by_role("button", name="Find").click()
    page.locator("tbody th", has_text="allenai/c4").wait_for(state="detached")
    page.wait_for_load_state()
    assert page.locator("tbody th").all_inner_texts() == ["stanfordnlp/imdb"]
    page.get_by_role("button", name="Copy bundle").click()
    shown = page.get_by_label("Bundle of one").input_value()
    assert parse_bundle(shown).url == first.url
    page.wait_for_load_state()
    assert page.get_by_role("button", name="Copy", exact=True).count() == 0
    page.get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="Servers", exact=True).wait_for()
    # The router looks at its list soon.
    eventually(lambda: page.reload() and page.get_by_text("No server yet").count())
    page.get_by_role("link", name="Add a server").first.click()
    page.get_by_label("URL").fill(first.url)
    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Add").nth(1).click()
    page.get_by_role("heading", name=first.url).wait_for()
    assert _tokens() == ["secret"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_screens_scroll_tables_and_not_the_page(
    inside: Any, peer: MakePeer, path: str, scheme: str
) -> None:
    """At 360 pixels no page is wider than the screen, in light and dark."""
    first = peer("a server whose label is longer than most")
    holds(first, CACHE, LOCALS, HANDLES)
    page = inside(path, color_scheme=scheme, viewport={"width": 360, "height": 740})
    page.wait_for_load_state("networkidle") if path == "/explore" else None

    assert not _is_wider_than_its_window(page)


def test_the_page_of_a_server_fits_a_narrow_screen(inside: Any, peer: MakePeer) -> None:
    """The page of a server is no wider than a narrow screen; its tables scroll by themselves."""
    holds(peer("one"), (*CACHE, cached("x" * 96, {"train": 1}, 1)), LOCALS, HANDLES)
    page = inside("/servers", viewport={"width": 360, "height": 740})
    page.get_by_role("link", name="one", exact=True).click()
    page.get_by_text("allenai/c4").first.wait_for()

    assert not _is_wider_than_its_window(page)


def test_schemes_are_those_of_the_browser(inside: Any) -> None:
    """The page is light or dark as the browser asks, with text that can be read on its ground."""
    grounds = []
    for scheme in ("light", "dark"):
        page = inside("/cluster", color_scheme=scheme)
        style = "getComputedStyle(document.body)"
        ground, text = (
            _lightness(page.evaluate(f"{style}.{name}")) for name in ("backgroundColor", "color")
        )
        grounds.append(ground)
        assert abs(ground - text) > 0.7

    assert grounds[0] > 0.9
    assert grounds[1] < 0.1


def _lightness(color: str) -> float:
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3 / 255


def test_the_keyboard_reaches_everything_and_shows_where_it_is(inside: Any, peer: MakePeer) -> None:
    """Tab goes over the skip link, the sections and the rows, and what has focus is outlined."""
    peer("one")
    page = inside()
    page.get_by_role("link", name="one", exact=True).wait_for()
    seen: list[str] = []
    while len(seen) < 30:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break
        name = page.evaluate("document.activeElement.textContent.trim()")
        style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none"
        seen.append(name)

    wanted = ["Skip to content", "Servers", "Explore", "Cluster", "Log out", "Pause", "one"]
    assert [name for name in wanted if name not in seen] == []


@pytest.mark.parametrize("path", PATHS)
def test_screen_readers_are_told_what_things_are(inside: Any, peer: MakePeer, path: str) -> None:
    """Fields have labels, tables captions and headings with a scope, and each page one title."""
    holds(peer("one"), CACHE)
    page = inside(path)

    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    nameless = """[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
      .filter((field) => !field.labels.length && !field.ariaLabel).length"""
    assert page.evaluate(nameless) == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("html[lang]").count() == 1


def test_what_servers_say_runs_nothing(inside: Any, peer: MakePeer, client: Client) -> None:
    """Markup in names, splits and labels is text in the browser, and live parts too."""
    first = peer(HOSTILE)
    holds(first, [cached(HOSTILE, {HOSTILE: 1}, 1, HOSTILE)])
    page = inside("/cluster")
    page.get_by_text(HOSTILE).first.wait_for()
    page.goto(f"{client.router.url}/servers")
    page.get_by_role("link", name=HOSTILE, exact=True).click()
    page.locator("tbody th", has_text=HOSTILE).wait_for()

    assert page.locator("img[src=x]").count() == 0


def test_an_https_router_logs_in(visit: Visit, tmp_path: Path) -> None:
    """Over https the login works, with a cookie that browsers send over nothing else."""
    files = Authority(tmp_path).sign()
    config = RouterConfig(ServerConfig(port=0, tls_cert=files.cert, tls_key=files.key))
    with RouterServer(config, FAST) as running:
        page = visit(running.url, ignore_https_errors=True)
        log_in(page, running.token)
        cookies = page.context.cookies()

    assert len(cookies) == 2
    assert all(cookie["secure"] and cookie["httpOnly"] for cookie in cookies)


def test_two_routers_on_one_host_are_logged_in_at_once(visit: Visit, home: Any) -> None:
    """Routers with different tokens on ports of one host do not log each other out."""
    with contextlib.ExitStack() as stack:
        routers = [
            stack.enter_context(
                RouterServer(RouterConfig(ServerConfig(port=0, auth_token=word * 20)), FAST)
            )
            for word in ("a", "b")
        ]
        page = visit(routers[0].url, expected=("a request leaves",))
        log_in(page, routers[0].token)
        page.goto(routers[1].url)
        log_in(page, routers[1].token)
        for router in routers:
            page.goto(f"{router.url}/cluster")
            assert page.get_by_role("button", name="Log out").is_visible()


def test_a_link_on_another_site_finds_who_is_logged_in(inside: Any, client: Client) -> None:
    """Whoever follows a link to a page of the router from another site need not log in again."""
    page = inside("/servers", expected=("a request leaves",))
    # The same port under another name is another site.
    page.goto(client.router.url.replace("127.0.0.1", "localhost") + "/login")
    page.evaluate(
        "address => { location.href = address; }", f"{client.router.url}/cluster?sets.q=x"
    )
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("heading", name="Cluster").wait_for()

    assert page.url == f"{client.router.url}/cluster?sets.q=x"


@pytest.fixture
def other_site() -> Iterator[Callable[[str], str]]:
    """Return a call that serves a page with some markup on another site, and gives its address."""
    pages: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(pages[-1].encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(markup: str) -> str:
        pages.append(f"<!DOCTYPE html><link rel=icon href=data:,>{markup}")
        return f"http://localhost:{server.server_port}/"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_form_of_another_site_changes_nothing(
    inside: Any, client: Client, other_site: Callable[[str], str]
) -> None:
    """A form that another site sends with the browser of somebody who is in is refused."""
    page = inside("/servers", expected=("a request leaves", "403"))
    form = f'<form method=post action="{client.router.url}/logout"><button>Win</button></form>'
    page.goto(other_site(form))
    page.get_by_role("button", name="Win").click()
    page.get_by_role("heading", name="Not allowed").wait_for()
    page.goto(f"{client.router.url}/cluster")

    assert page.get_by_role("button", name="Log out").is_visible()


def test_pages_are_in_no_frame_of_another_site(
    inside: Any, client: Client, other_site: Callable[[str], str]
) -> None:
    """No other site can put a page into a frame, where clicks could be stolen."""
    page = inside("/servers", expected=("a request leaves", "frame-ancestors", "ERR_BLOCKED"))
    with page.expect_console_message(lambda told: "frame-ancestors" in told.text):
        page.goto(other_site(f'<iframe src="{client.router.url}/login"></iframe>'))

    assert page.frames[1].url != f"{client.router.url}/login"
