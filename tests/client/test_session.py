"""Sessions with a server: what is sent, and which error an answer stands for."""

from __future__ import annotations

import json
import pickle
import socket
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from ports import deaf_port
from raw_server import Request, StartServer, response

from fdss import places, tokens
from fdss.client.session import ServerSession, checked_url
from fdss.errors import (
    AuthenticationRequired,
    BadParameter,
    BadRequest,
    ContentChanged,
    FdssError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PageForeign,
    PathsDisabled,
    ServerUnreachable,
    ServerUntrusted,
    SettingError,
    Unavailable,
    UnknownLocal,
    error_kinds,
)

URL = "http://data.example:8766"
HEALTH = "/v1/health"
TOKEN = "0123456789abcdef"


def answered(status: int, body: str, content_type: str = "application/json", **headers: str) -> Any:
    """Return the error that one answer raises."""
    with responses.RequestsMock() as mock, pytest.raises(FdssError) as caught:
        mock.get(URL + HEALTH, body, status=status, content_type=content_type, headers=headers)
        ServerSession(URL, TOKEN).get_json(HEALTH)
    return caught.value


def sent(url: str, token: str | None = None) -> requests.PreparedRequest:
    """Return the request that a session sends."""
    with responses.RequestsMock() as mock:
        mock.get(url + HEALTH, json={})
        ServerSession(url, token).get_json(HEALTH)
        return mock.calls[0].request


@pytest.mark.parametrize("code", sorted(error_kinds()))
def test_error_is_found_by_its_code(code: str) -> None:
    """Every code comes back as its class, with the server's message and hint, whatever status."""
    error = answered(418, json.dumps({"error": "What.", "code": code, "hint": "Help."}))
    assert type(error) is error_kinds()[code]
    assert (error.message, error.hint) == ("What.", "Help.")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthenticationRequired),
        (403, Forbidden),
        (404, NotFound),
        (405, MethodNotAllowed),
        (412, ContentChanged),
        (418, BadRequest),
        (422, BadParameter),
        (429, Unavailable),
        (500, FdssError),
        (502, ServerUnreachable),
        (503, Unavailable),
        (504, ServerUnreachable),
    ],
)
@pytest.mark.parametrize(
    "body", ['{"error": "What."}', '{"error": "What.", "code": "from-tomorrow"}']
)
def test_error_without_a_known_code_is_found_by_its_status(
    status: int, kind: type[FdssError], body: str
) -> None:
    """Servers that send no code, or a newer one, are understood by the status."""
    error = answered(status, body)
    assert type(error) is kind
    assert error.message == "What."


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("Not Found", "Not Found"),
        ([{"loc": ["query"], "msg": "no integer"}, {"msg": "too large"}], "no integer; too large"),
    ],
)
def test_detail_of_other_servers_is_the_message(detail: Any, message: str) -> None:
    """The two shapes of ``detail`` are read as well."""
    assert answered(404, json.dumps({"detail": detail})).message == message


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, PageForeign), (206, PageForeign), (404, NotFound), (502, ServerUnreachable)],
)
def test_html_names_its_status_and_url(status: int, kind: type[FdssError]) -> None:
    """A page of something else than a dataset server is called what it is."""
    error = answered(status, "<html>nginx</html>", "text/html; charset=utf-8")
    assert type(error) is kind
    assert "text/html" in error.message
    assert URL + HEALTH in error.message
    assert error.hint


@pytest.mark.parametrize("body", ["[]", "", "{"])
def test_answer_that_is_no_object_is_foreign(body: str) -> None:
    """A JSON object is all a dataset server answers with."""
    assert type(answered(200, body)) is PageForeign


def test_control_characters_of_a_message_are_not_shown() -> None:
    """A server cannot drive the terminal its message is printed on, nor flood it."""
    error = answered(400, json.dumps({"error": "\x1b[31mred\n" + "x" * 9000}))
    assert error.message.startswith(" [31mred x")
    assert len(error.message) == 2000


def test_retry_after_is_kept() -> None:
    """An unavailable server says when to come back."""
    assert answered(503, '{"error": "Busy."}', **{"Retry-After": "7"}).retry_after_s == 7
    assert answered(503, '{"error": "Busy."}', **{"Retry-After": "soon"}).retry_after_s == 5


def test_redirect_is_an_error_that_says_where_to(start_server: StartServer) -> None:
    """A token does not follow a redirect, and the redirect's own query is not shown."""
    moved = {"Location": "http://elsewhere.example/v1/health?token=abc"}
    server = start_server(
        lambda request, connection: connection.sendall(response(status="302 Found", headers=moved))
    )
    with pytest.raises(PageForeign, match="http://elsewhere.example/v1/health'") as caught:
        ServerSession(server.url, TOKEN).get_json(HEALTH)
    assert "abc" not in str(caught.value)
    assert len(server.requests) == 1


def test_nobody_there_is_unreachable() -> None:
    """A closed port gives the URL, the reason and the command that helps, never the token."""
    with deaf_port() as port, pytest.raises(ServerUnreachable, match="refused") as caught:
        url = f"http://127.0.0.1:{port}"
        ServerSession(url, TOKEN).get_json(HEALTH)
    assert url in caught.value.message
    assert "fdss start" in caught.value.hint
    assert TOKEN not in repr(caught.value) + caught.value.hint


def test_silent_server_is_unreachable(start_server: StartServer) -> None:
    """No answer within the timeout is told as that."""
    server = start_server(lambda request, connection: None)
    with pytest.raises(ServerUnreachable, match=r"no answer within 0\.1 s"):
        ServerSession(server.url, timeout_s=0.1).get_json(HEALTH)


def test_answer_cut_in_the_middle_is_unreachable(start_server: StartServer) -> None:
    """JSON that ends early is a failure of the connection."""

    def answer(request: Request, connection: socket.socket) -> None:
        connection.sendall(response(b'{"a":', length=100))
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(ServerUnreachable, match="middle"):
        ServerSession(start_server(answer).url).get_json(HEALTH)


def test_kept_connection_that_was_closed_is_replaced(start_server: StartServer) -> None:
    """A server may close a kept connection at any time; the next request does not notice."""

    def answer(request: Request, connection: socket.socket) -> None:
        if len(server.requests) == 2:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            connection.sendall(response(b'{"ok": true}'))

    server = start_server(answer)
    session = ServerSession(server.url)
    assert [session.get_json(HEALTH), session.post_json("/v1/load", {})] == [{"ok": True}] * 2
    assert [request.method for request in server.requests] == ["GET", "POST", "POST"]


def test_connection_is_kept(start_server: StartServer) -> None:
    """Many requests of a session take one connection; closing it does no harm."""
    server = start_server(lambda request, connection: connection.sendall(response(b"{}")))
    session = ServerSession(server.url)
    for _ in range(5):
        session.get_json(HEALTH)
    assert len(server.connections) == 1
    session.close()
    assert session.get_json(HEALTH) == {}
    session.close()


def test_what_is_sent() -> None:
    """A request carries the token, who asks, and no wish for compression or cookies."""
    headers = sent(URL, TOKEN).headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["User-Agent"].startswith("fdss-client/")
    assert headers["Accept-Encoding"] == "identity"


def test_cookies_are_not_kept(start_server: StartServer) -> None:
    """A session has no state that a server could set."""
    cookie = {"Set-Cookie": "a=b"}
    server = start_server(
        lambda request, connection: connection.sendall(response(b"{}", headers=cookie))
    )
    session = ServerSession(server.url)
    session.get_json(HEALTH)
    session.get_json(HEALTH)
    assert "cookie" not in server.requests[1].headers
    session.close()


def test_netrc_does_not_replace_the_token(home: Path) -> None:
    """Credentials of a .netrc are for other programs."""
    netrc = home / ".netrc"
    netrc.write_text("machine data.example login me password secret\n")
    netrc.chmod(0o600)
    assert sent(URL, TOKEN).headers["Authorization"] == f"Bearer {TOKEN}"
    assert "Authorization" not in sent(URL).headers


def test_token_is_found_in_the_order_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit, then the environment, then the file of a loopback URL's port, then none."""
    local = "http://localhost:8766"
    assert "Authorization" not in sent(local).headers
    tokens.keep(places.token_file(8766), "from-file")
    assert sent(local).headers["Authorization"] == "Bearer from-file"
    assert "Authorization" not in sent(URL).headers
    monkeypatch.setenv(tokens.TOKEN_VARIABLE, "from-environment")
    assert sent(local).headers["Authorization"] == "Bearer from-environment"
    assert sent(URL, "explicit").headers["Authorization"] == "Bearer explicit"


def test_a_token_that_changed_is_found_again() -> None:
    """A job that runs on learns the token of its server anew, once it is refused."""
    url = "http://127.0.0.1:8766"
    tokens.keep(places.token_file(8766), "old")
    session = ServerSession(url)
    with responses.RequestsMock() as mock:
        mock.get(url + HEALTH, json={})
        session.get_json(HEALTH)
    tokens.keep(places.token_file(8766), "new")
    with responses.RequestsMock() as mock:
        old = responses.matchers.header_matcher({"Authorization": "Bearer old"})
        new = responses.matchers.header_matcher({"Authorization": "Bearer new"})
        mock.get(url + HEALTH, json={"error": "No."}, status=401, match=[old])
        mock.get(url + HEALTH, json={"found": True}, match=[new])

        assert session.get_json(HEALTH) == {"found": True}


def test_refused_token_of_the_file_points_at_tunnels() -> None:
    """Through a tunnel, this machine's token file is of another server; the hint says so."""
    url = "http://127.0.0.1:8766"
    with responses.RequestsMock() as mock, pytest.raises(AuthenticationRequired) as caught:
        mock.get(url + HEALTH, json={"error": "No."}, status=401)
        ServerSession(url).get_json(HEALTH)
    assert "keeps no token" in caught.value.hint
    tokens.keep(places.token_file(8766), "a" * 64)
    with responses.RequestsMock() as mock, pytest.raises(AuthenticationRequired) as caught:
        mock.get(url + HEALTH, json={"error": "No."}, status=401)
        ServerSession(url).get_json(HEALTH)
    assert "tunnel" in caught.value.hint


@pytest.mark.parametrize(("token", "begin"), [("wrong", "the token that was sent"), (None, "pass")])
def test_a_wrong_token_is_told_from_a_missing_one(token: str | None, begin: str) -> None:
    """Who has sent a token reads that it is another server's, who has not, how to give one."""
    with responses.RequestsMock() as mock, pytest.raises(AuthenticationRequired) as caught:
        mock.get(f"http://far:1{HEALTH}", json={"error": "No."}, status=401)
        ServerSession("http://far:1", token).get_json(HEALTH)
    assert caught.value.hint.startswith(begin)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_loopback_never_goes_through_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a tunnel is on this machine, whatever proxy there is for other hosts."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert proxies_of(f"http://{host}:8766") == {}


def test_other_hosts_follow_the_proxy_variables(
    monkeypatch: pytest.MonkeyPatch, start_server: StartServer
) -> None:
    """HTTP_PROXY is honoured for a remote host, unless NO_PROXY names it."""
    proxy = start_server(lambda request, connection: connection.sendall(response(b"{}")))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    session = ServerSession("http://data.invalid:8766", TOKEN)
    assert session.get_json(HEALTH) == {}
    session.close()
    assert proxy.requests[0].target == "http://data.invalid:8766/v1/health"
    monkeypatch.setenv("NO_PROXY", "data.invalid")
    assert proxies_of("http://data.invalid:8766") == {}


def proxies_of(url: str) -> Any:
    with responses.RequestsMock() as mock:
        mock.get(url + HEALTH, json={})
        ServerSession(url).get_json(HEALTH)
        return mock.calls[0].request.req_kwargs["proxies"]  # type: ignore[attr-defined]


def test_certificate_variable_that_names_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A REQUESTS_CA_BUNDLE without a file is named in the error."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(SettingError, match="REQUESTS_CA_BUNDLE"):
        ServerSession("https://127.0.0.1:1").get_json(HEALTH)


def test_plain_server_behind_https_is_told() -> None:
    """A server that speaks plain HTTP is called that, and nothing is sent in the clear."""
    heard: list[bytes] = []

    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65536))
            connection.sendall(response(b"{}", status="400 Bad Request"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=refuse)
        server.start()
        with pytest.raises(ServerUntrusted, match="most likely plain HTTP") as caught:
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            ServerSession(url, TOKEN).get_json(HEALTH)
        server.join()
    assert "http://" in caught.value.hint
    assert heard[0].startswith(b"\x16\x03")
    assert TOKEN.encode() not in heard[0]


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8766/", "http://localhost:8766"),
        ("  https://data.example/fdss/  ", "https://data.example/fdss"),
        ("HTTP://Data.Example:80", "http://Data.Example:80"),
        ("http://[::1]:8766", "http://[::1]:8766"),
    ],
)
def test_url_is_kept_without_its_last_slash(given: str, url: str) -> None:
    """A path in front of the API stays; a slash at the end goes."""
    assert checked_url(given) == url
    assert ServerSession(given).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8766",
        "ftp://data.example",
        "http://",
        "http://data.example:port",
        "http://data.example:99999",
        "http://[::1",
        "forgather-dataset://data.example:8766/?token=secret",
        "http://me:secret@data.example",
        "http://data.example/?token=secret",
        "http://data.example/#secret",
    ],
)
def test_other_urls_are_refused_without_their_secrets(url: str) -> None:
    """What is not a server's URL is refused when it is given, and nothing secret is repeated."""
    with pytest.raises(SettingError) as caught:
        ServerSession(url)
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("token", ["two words", "a\r\nX-Other: b", "schlüssel", "\x00"])
def test_token_that_cannot_be_sent_is_refused_unshown(token: str) -> None:
    """A token has to fit in a header; one that does not is not repeated."""
    with pytest.raises(SettingError) as caught:
        ServerSession(URL, token)
    assert token not in caught.value.message


def test_pickle_carries_no_token_but_an_explicit_one() -> None:
    """A session is unpickled without connections; a token it found is looked for again."""
    tokens.keep(places.token_file(8766), "from-file")
    session = ServerSession("http://localhost:8766", timeout_s=3)
    with responses.RequestsMock() as mock:
        mock.get("http://localhost:8766" + HEALTH, json={})
        session.get_json(HEALTH)
    packed = pickle.dumps(session)
    assert b"from-file" not in packed
    again = pickle.loads(packed)
    assert (again.url, again.timeout_s) == (session.url, 3)
    assert len(packed) < 200


def test_repr_shows_no_token() -> None:
    """A session can be logged."""
    assert repr(ServerSession(URL, TOKEN)) == f"ServerSession({URL!r})"


def test_policy_errors_keep_the_servers_words() -> None:
    """A refused path and an unknown name are no problem of the connection."""
    error = answered(403, json.dumps(PathsDisabled("No paths.").as_json()))
    assert (type(error), error.message) == (PathsDisabled, "No paths.")
    error = answered(404, json.dumps(UnknownLocal("No 'x'.").as_json()))
    assert (type(error), error.message) == (UnknownLocal, "No 'x'.")


def test_dropped_session_leaves_no_socket(start_server: StartServer) -> None:
    """Forgetting a session closes its connections, without a warning."""
    server = start_server(lambda request, connection: connection.sendall(response(b"{}")))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session = ServerSession(server.url)
        session.get_json(HEALTH)
        del session
    assert server.left.acquire(timeout=60)
