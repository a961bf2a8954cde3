"""Who sees the pages: the login, its cookie, and what forms must carry."""

from __future__ import annotations

import logging
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from clusters import MakePeer, Route, eventually
from visitors import TOKEN, Visitor, visitor

from fdss.router import proxy
from fdss.router.membership import server_id_of
from fdss.router.names import proxy_path
from fdss.router.router import Router
from fdss.router.serving import OTHER_THREADS
from fdss.web import explore_opening
from fdss.web.sessions import LIFE_S, Sessions

PAGES = ("/", "/servers", "/servers/add", "/explore", "/cluster", "/servers/0123456789ab", "/none")


@pytest.fixture
def guest(home: object) -> Visitor:
    """Return somebody at a router without servers who has not logged in."""
    return visitor(Router([], is_guarded=True))


def test_every_page_leads_to_the_login_and_from_there_back(guest: Visitor) -> None:
    """Without a login every path, also one that is none, leads to the login and then back."""
    for path in PAGES[1:]:
        answer = guest.get(f"{path}?a=b%20c&d=%2F")
        assert answer.status_code == 303
        login = guest.get(answer.headers["Location"])
        found = re.search(r'name="next" value="([^"]*)"', login.text)
        assert found is not None
        assert found[1] == f"{path}?a=b%20c&amp;d=%2F"


def test_login_opens_the_pages_and_logout_closes_them(guest: Visitor) -> None:
    """The token opens the pages; after the log-out the same cookie opens none."""
    answer = guest.log_in(target="/cluster")
    name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/cluster")
    assert guest.get("/cluster").status_code == 200

    assert guest.send("/logout", {}).headers["Location"] == "/login"

    assert guest.get("/cluster").status_code == 303
    guest.client.set_cookie(name, value)
    assert guest.get("/cluster").status_code == 303


def test_cookie_is_kept_from_scripts_and_other_sites(guest: Visitor) -> None:
    """The cookie is HttpOnly, SameSite=Strict, of this host only, and ends after hours."""
    told = guest.log_in().headers["Set-Cookie"]

    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFE_S}"} <= set(told.split("; "))
    assert "Domain" not in told
    assert TOKEN not in told


def test_cookie_stays_under_https(home: object) -> None:
    """Where the router speaks https, browsers send the cookies over nothing else."""
    secure = visitor(Router([], is_guarded=True))
    secure.client.environ_base["wsgi.url_scheme"] = "https"
    secure.client.environ_base["HTTP_HOST"] = "router.example"
    token = re.search(
        r'name="form_token" value="(\w+)"', secure.client.get("/login", base_url=HTTPS).text
    )
    assert token is not None
    answer = secure.client.post(
        "/login", base_url=HTTPS, data={"form_token": token[1], "token": TOKEN}
    )

    assert answer.status_code == 303
    assert [h for h in answer.headers.getlist("Set-Cookie") if "; Secure" not in h] == []


HTTPS = "https://router.example"


def test_a_wrong_token_is_told_and_logged_once(
    guest: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong token is a 401 that does not show it again, and many are one line of the log."""
    with caplog.at_level(logging.WARNING, "fdss"):
        answers = [guest.log_in(f"wrong-{number}") for number in range(20)]

    assert {answer.status_code for answer in answers} == {401}
    assert "This is not the token of this router" in answers[0].text
    assert "wrong-" not in answers[0].text
    assert caplog.messages == ["127.0.0.1 asked with a wrong token and was refused"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/a\nLocation: //evil.example",
        "/login",
        "/logout",
        "evil",
        "",
    ],
)
def test_login_leads_to_own_pages_only(guest: Visitor, target: str) -> None:
    """Whatever ``next`` says, the login leads to a page of the router."""
    assert guest.log_in(target=target).headers["Location"] == "/"


@pytest.mark.parametrize("path", ["/api/cluster/dataset_servers", "/v1/x", "/metrics"])
def test_a_cookie_opens_nothing_of_programs(guest: Visitor, path: str) -> None:
    """With the cookie alone, the paths of programs answer 401 in JSON."""
    guest.log_in()
    answer = guest.get(path)

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "authentication-required"


def test_a_bearer_opens_no_page(guest: Visitor) -> None:
    """The token in a header, as programs send it, is no login."""
    answer = guest.get("/servers", Authorization=f"Bearer {TOKEN}")

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?next=/servers")


def test_a_path_that_is_none_is_told_in_the_words_of_who_asks(guest: Visitor) -> None:
    """A program gets JSON for a path that is none, and a browser a page."""
    program = guest.get("/none", Authorization=f"Bearer {TOKEN}")
    guest.log_in()
    page = guest.get("/none")

    assert (program.status_code, program.mimetype) == (404, "application/json")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert "There is no such page." in page.text


@pytest.mark.parametrize(
    "given", ["", "x", "0" * 64, "ü", pytest.param("0" * 32, id="as drawn"), None]
)
@pytest.mark.parametrize("path", ["/servers/add", "/logout", "/servers/0123456789ab/remove"])
def test_forms_without_their_value_are_refused(
    guest: Visitor, path: str, given: str | None
) -> None:
    """A form that does not carry the value of our forms changes nothing."""
    guest.log_in()
    fields = {} if given is None else {"form_token": given}
    answer = guest.client.post(path, data={"base_url": "http://a.example:1", **fields})

    assert answer.status_code == 403
    assert "out of date" in answer.text
    assert guest.get("/servers").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
    ],
)
def test_forms_of_other_sites_are_refused(guest: Visitor, headers: dict[str, str]) -> None:
    """Even with the right value, a form that the browser says is another site's is refused."""
    guest.log_in()

    assert guest.send("/logout", {}, **headers).status_code == 403
    assert guest.get("/servers").status_code == 200


def test_a_login_form_of_another_site_is_refused(guest: Visitor) -> None:
    """Nobody is logged in by another site: the form's value is one of this browser's."""
    answer = guest.client.post("/login", data={"token": TOKEN, "form_token": "0" * 32})

    assert answer.status_code == 403


def test_a_link_on_another_site_goes_on_with_a_click(guest: Visitor) -> None:
    """A browser keeps the cookie back for a link of another site; a person may go on, no page."""
    path = "/explore/x/rows?path=%22%3E%3Cscript%3E&q=ü"
    answer = guest.get(path, **{"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 200
    found = re.search(r'<a class="button main" href="([^"]*)"', answer.text)
    assert found is not None and "refresh" not in answer.text.lower()
    assert found[1].startswith("/explore/x/rows?path=%22%3E%3Cscript%3E&amp;q=%C3%BC")
    assert guest.get("//evil.example", **{"Sec-Fetch-Site": "cross-site"}).text.count("evil") == 0


def test_a_script_is_told_that_the_login_is_over(guest: Visitor) -> None:
    """What our scripts ask for without a login is a 401, not the page to log in."""
    assert guest.get("/cluster", **{"FDSS-Script": "1"}).status_code == 401


def test_equal_tokens_know_each_others_logins_and_others_do_not() -> None:
    """A login is one at every router with the token, and none at one that got a new token."""
    cookie = Sessions(TOKEN).open(TOKEN)
    assert cookie is not None

    known = Sessions(TOKEN).find(cookie)
    assert known is not None
    assert Sessions(TOKEN).find(cookie) == known
    assert Sessions("other").find(cookie) is None
    assert Sessions("other").cookie != Sessions(TOKEN).cookie == Sessions(TOKEN).cookie


def test_a_login_ends_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie that is too old, changed or invented is none."""
    sessions = Sessions(TOKEN)
    cookie = sessions.open(TOKEN)
    assert cookie is not None
    begun_s = time.time()

    assert sessions.find(cookie) is not None
    for odd in ("", "x", cookie[:-1], f"a{cookie}", "ü", cookie.replace(".", "..")):
        assert sessions.find(odd) is None
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: begun_s + LIFE_S + 2)
    assert sessions.find(cookie) is None


def test_without_a_token_everybody_sees_the_pages_and_forms_are_still_ours(home: object) -> None:
    """With --no-auth there is no login; forms need their value, and other sites get nothing."""
    anybody = visitor(Router([]), token=None)

    assert anybody.get("/servers").status_code == 200
    assert "Log out" not in anybody.get("/servers").text
    assert anybody.get("/login").headers["Location"] == "/"
    assert anybody.client.post("/servers/add", data={}).status_code == 403
    foreign = anybody.get("/servers", **{"Sec-Fetch-Site": "cross-site"})
    assert (foreign.status_code, foreign.mimetype) == (403, "text/html")
    rebound = anybody.client.get(
        "/servers", headers={"Host": "evil.example", "Accept-Language": ""}
    )
    assert rebound.status_code == 403


def test_every_page_has_the_headers_that_keep_it_to_itself(guest: Visitor) -> None:
    """Pages, errors and files allow nothing inline and nothing from elsewhere."""
    guest.log_in()
    for path in (*PAGES, "/login", "/cluster?sets.page=x"):
        headers = guest.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy.pop("default-src") == "'none'"
        assert set(policy) == {
            *("style-src", "script-src", "img-src", "media-src", "connect-src", "form-action"),
            *("frame-ancestors", "base-uri"),
        }
        assert set(policy.values()) == {"'self'", "'none'"}
        assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == (
            "nosniff",
            "no-store",
        )


def test_files_are_kept_by_browsers_and_change_their_address(guest: Visitor) -> None:
    """A file is kept for ever under its address; another address of it is none."""
    page = guest.get("/login").text
    found = re.findall(r'"(/static/[0-9a-f]{16}/[a-z]+\.(?:css|js|svg))"', page)

    assert len(set(found)) >= 3
    for path in found:
        answer = guest.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    for odd in ("/static/0000000000000000/base.css", found[0].replace(".svg", ".py")):
        assert guest.get(odd).status_code == 404


def test_pages_hold_nothing_inline(guest: Visitor) -> None:
    """No page has a script, style, handler or address of its own in its markup."""
    guest.log_in()
    for path in ("/servers", "/servers/add", "/cluster", "/none"):
        text = guest.get(path).text
        inline = r"<script(?! src=)|<style|\sstyle=|\son\w+=|javascript:"
        elsewhere = r'(?:src|href|action)="(?!/[^/]|#)'
        assert re.findall(f"{inline}|{elsewhere}", text) == []


def test_pages_wait_for_no_server(
    route: Route, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a server keeps everybody who asks it waiting, pages and their files come at once."""
    monkeypatch.setattr(proxy, "LOOKUP_TIMEOUT_S", 600.0)
    silent = peer("silent")
    client = route()
    eventually(lambda: client.knows(1))
    server_id = client.router.router.server_list()["servers"][0]["server_id"]
    silent.silent.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.get, proxy_path(server_id, "local")) for _ in range(8)]
        try:
            eventually(lambda: client.router.router.proxy.under_way == len(asked))
            answers = [
                requests.get(f"{client.router.url}{path}", timeout=30)
                for path in ("/login", "/cluster")
            ]
            still_waiting = sum(not question.done() for question in asked)
        finally:
            silent.silent.set()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert still_waiting == len(asked)


def test_pages_of_rows_keep_no_other_page_waiting(
    route: Route, peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more people than there are threads wait for a server, pages from memory come."""
    monkeypatch.setattr(explore_opening, "PATIENCE_S", 600.0)
    monkeypatch.setattr(proxy, "LOAD_TIMEOUT_S", 600.0)
    slow = peer("slow")
    client = route(no_auth=True)
    eventually(lambda: client.knows(1))
    url = client.router.url
    rows = f"{url}/explore/{server_id_of(slow.url)}/rows?path=local/x"
    slow.loads.clear()
    with ThreadPoolExecutor(OTHER_THREADS + 4) as pool:
        waiting = [pool.submit(requests.get, rows, timeout=300) for _ in range(OTHER_THREADS + 4)]
        try:
            eventually(lambda: client.router._listener.task_dispatcher._loads.queue)
            pages = [requests.get(url + path, timeout=60) for path in ("/servers", "/cluster")]
            still_waiting = sum(not page.done() for page in waiting)
        finally:
            slow.loads.set()

    assert [page.status_code for page in pages] == [200, 200]
    assert still_waiting == len(waiting)


def test_a_router_on_its_port_serves_the_pages(route: Route) -> None:
    """The pages are at the address that the router prints."""
    client = route()
    with requests.Session() as session:
        answer: Any = session.get(client.router.url, timeout=60)
        found = re.search(r'name="form_token" value="(\w+)"', answer.text)
        assert found is not None
        fields = {"form_token": found[1], "token": client.router.token}
        answer = session.post(f"{client.router.url}/login", data=fields, timeout=60)

    assert answer.status_code == 200
    assert "No server yet" in answer.text
