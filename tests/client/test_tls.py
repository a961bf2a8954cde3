"""https: nothing is sent before the server is verified, and a failure says what helps."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import pickle
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import DAY, NOW, Authority, Files, self_signed
from raw_server import (
    RawServer,
    Request,
    StartServer,
    answer_pages,
    chunk,
    page_headers,
    response,
    row_lines,
)

from fdss import places, tokens
from fdss.backend import Row, Selection
from fdss.client import RemoteBackend, fast_load_iterable_dataset, load_remote
from fdss.client.connections import Hold
from fdss.client.session import ServerSession
from fdss.errors import (
    AuthenticationRequired,
    FdssError,
    PageCut,
    PageForeign,
    ServerUnreachable,
    ServerUntrusted,
    SettingError,
)
from fdss.tls.folder import TlsFolder
from fdss.tls.trust import CERT_VARIABLE, KEY_VARIABLE, current_trust

HEALTH = "/v1/health"
TOKEN = "0123456789abcdef"
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def answer_empty(request: Request, connection: socket.socket) -> None:
    """Answer with an empty JSON object."""
    connection.sendall(response(b"{}"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority that nobody knows."""
    return Authority(tmp_path)


@pytest.fixture
def known(authority: Authority) -> Authority:
    """Return an authority that the TLS folder's bundle holds."""
    import_authority(authority)
    return authority


def import_authority(authority: Authority) -> None:
    """Add an authority to the TLS folder's bundle."""
    bundle = places.tls_folder() / "ca-bundle.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open("ab") as file:
        file.write(authority.files.cert.read_bytes())


def refusal(url: str, token: str | None = TOKEN) -> ServerUntrusted:
    """Return the error of a server with which there is no secure connection."""
    with (
        contextlib.closing(ServerSession(url, token)) as session,
        pytest.raises(ServerUntrusted) as caught,
    ):
        session.get_json(HEALTH)
    assert TOKEN not in str(caught.value)
    assert not isinstance(caught.value, ServerUnreachable)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_server_of_an_imported_authority_is_verified(
    known: Authority, start_server: StartServer, host: str
) -> None:
    """The bundle of the TLS folder is trusted, and the token travels over TLS."""
    server = start_server(answer_empty, known.sign().context())
    with contextlib.closing(ServerSession(server.url.replace("127.0.0.1", host), TOKEN)) as session:
        assert session.get_json(HEALTH) == {}
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("begin", "end", "words", "help_with"),
    [
        (NOW - 2 * DAY, NOW - DAY, r"has expired \(\w\w\w .* GMT\)", "fdss tls renew on the"),
        (NOW + DAY, NOW + 2 * DAY, r"is not valid yet \(\w\w\w .* GMT\)", "clocks"),
    ],
)
def test_certificate_out_of_its_time_is_told(
    known: Authority,
    start_server: StartServer,
    begin: dt.datetime,
    end: dt.datetime,
    words: str,
    help_with: str,
) -> None:
    """An expired certificate and one of tomorrow are called that, with the date."""
    server = start_server(answer_empty, known.sign(begin=begin, end=end).context())
    error = refusal(server.url)
    assert re.search(f"shows a certificate that {words}", error.message)
    assert help_with in error.hint
    assert server.requests == []


def test_expired_authority_is_told_from_an_expired_server(
    tmp_path: Path, start_server: StartServer
) -> None:
    """Renewing the server's certificate does not help where its authority has expired."""
    authority = Authority(tmp_path, begin=NOW - 9 * DAY, end=NOW - DAY)
    import_authority(authority)
    server = start_server(answer_empty, authority.sign().context())
    error = refusal(server.url)
    assert "a certificate of an authority that has expired" in error.message
    assert "renew --ca" in error.hint
    assert server.requests == []


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["data.example", "10.1.2.3"], "'data.example', '10.1.2.3'"),
        (["::1", "2001:db8::7"], "'::1', '2001:db8::7'"),
        ([f"host-{number}" for number in range(10)], "'host-7' and 2 more"),
    ],
)
def test_wrong_name_lists_the_names_of_the_certificate(
    known: Authority, start_server: StartServer, names: list[str], shown: str
) -> None:
    """A certificate of a known authority for other names is refused, and its names are told."""
    server = start_server(answer_empty, known.sign(names=names).context())
    error = refusal(server.url)
    assert "is not for '127.0.0.1', but for " in error.message
    assert f"{shown} (GET" in error.message
    assert "fdss tls renew --add-ip 127.0.0.1" in error.hint
    assert server.requests == []


def test_unknown_authority_is_told(authority: Authority, start_server: StartServer) -> None:
    """A server whose authority nobody has imported is refused with the command that helps."""
    server = start_server(answer_empty, authority.sign().context())
    error = refusal(server.url)
    assert "an authority that this machine does not know" in error.message
    assert "fdss tls import-ca" in error.hint
    assert server.requests == []


def test_self_signed_certificate_is_told(tmp_path: Path, start_server: StartServer) -> None:
    """A certificate that no authority has signed is called that; naming it helps."""
    files = self_signed(tmp_path)
    server = start_server(answer_empty, files.context())
    error = refusal(server.url)
    assert "a self-signed certificate" in error.message
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert server.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_rogue_server_hears_nothing(authority: Authority, version: ssl.TLSVersion) -> None:
    """Not a byte of a request reaches a server that is not verified, in any version of TLS."""
    context = authority.sign().context()
    context.maximum_version = version
    heard: list[bytes] = []
    failures: list[ssl.SSLError] = []

    def listen() -> None:
        with contextlib.suppress(ConnectionError):
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    heard.append(secure.recv(65536))
            except ssl.SSLError as error:
                failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        rogue = threading.Thread(target=listen)
        rogue.start()
        refusal(f"https://127.0.0.1:{listener.getsockname()[1]}")
        rogue.join()
    assert b"".join(heard) == b""
    assert [error.reason for error in failures] == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_http_to_a_port_of_tls_is_told(known: Authority, start_server: StartServer) -> None:
    """An http URL of a server that speaks https is called that, whatever authority it has."""
    server = start_server(answer_empty, known.sign().context())
    error = refusal(server.url.replace("https:", "http:"), None)
    assert "speaks https, and the URL says http" in error.message
    assert error.hint == "write https:// in the URL"
    assert server.requests == []


def test_http_to_a_web_server_that_speaks_tls_is_told(known: Authority) -> None:
    """What web servers answer to plain HTTP on such a port is understood as well."""
    context = known.sign().context()

    def serve() -> None:
        with listener.accept()[0] as plain:
            plain.recv(65536)
            plain.sendall(response(b"plain HTTP", status="400 Bad", content_type="text/html"))
        connection, _ = listener.accept()
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
            pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        error = refusal(f"http://127.0.0.1:{listener.getsockname()[1]}", None)
        server.join()
    assert "speaks https" in error.message


@pytest.mark.parametrize("says", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n"])
def test_https_to_a_port_of_http_is_told(says: bytes) -> None:
    """A plain server is called that whether it answers a handshake or just leaves."""
    heard: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection:
                    heard.append(connection.recv(65536))
                    is_tls = heard[-1].startswith(b"\x16")
                    connection.sendall(says if is_tls else response(status="404 Not Found"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        error = refusal(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    server.join()
    assert "does not speak TLS" in error.message
    assert {said for said in heard if said[0] != 0x16} <= {b"HEAD / HTTP/1.0\r\n\r\n"}


@pytest.mark.parametrize(
    "says", ["400 Bad Request", "301 Moved Permanently", "421 Misdirected", "503 Busy", ""]
)
def test_a_server_of_tls_that_resets_connections_stays_one(says: str) -> None:
    """What a port of TLS, or a balancer, answers to plain HTTP does not make it a plain server."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    heard = connection.recv(65536)
                    if not heard.startswith(b"\x16"):
                        connection.sendall(response(b"https!", status=says) if says else b"HTTP")
                        continue
                    # Closed so, it is reset.
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.closing(ServerSession(url)) as session, pytest.raises(ServerUnreachable):
            session.get_json(HEALTH)
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    server.join()


def test_bad_request_of_a_plain_server_stays_one(start_server: StartServer) -> None:
    """A server that speaks no TLS is not taken for one that does."""
    bad = response(b"no", status="400 Bad Request", content_type="text/plain")
    server = start_server(lambda request, connection: connection.sendall(bad))
    with (
        contextlib.closing(ServerSession(server.url)) as session,
        pytest.raises(FdssError) as caught,
    ):
        session.get_json(HEALTH)
    assert caught.value.code == "bad-request"


def test_old_versions_of_tls_are_refused(known: Authority, start_server: StartServer) -> None:
    """TLS 1.1 is not spoken, and the error says so."""
    context = known.sign().context()
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    assert "TLS 1.2 or newer" in refusal(start_server(answer_empty, context).url).message
    assert current_trust().context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_is_shown_where_one_is_named(
    known: Authority,
    start_server: StartServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: ssl.TLSVersion,
) -> None:
    """A server that wants a client certificate gets the one that the environment names."""
    context = known.sign().context(known.files.cert)
    context.maximum_version = version
    server = start_server(answer_empty, context)

    error = refusal(server.url)
    assert "want a client certificate" in error.message.replace("wants", "want")
    assert CERT_VARIABLE in error.hint
    assert server.requests == []

    show(Authority(tmp_path, "other").sign("stranger"), monkeypatch)
    error = refusal(server.url)
    assert "does not accept the client certificate" in error.message
    assert "stranger.crt" in error.message
    assert server.requests == []

    show(known.sign("client"), monkeypatch)
    with contextlib.closing(ServerSession(server.url, TOKEN)) as session:
        assert session.get_json(HEALTH) == {}


def show(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name a client certificate in the environment."""
    monkeypatch.setenv(CERT_VARIABLE, str(files.cert))
    monkeypatch.setenv(KEY_VARIABLE, str(files.key))


def test_no_certificate_is_shown_unasked(
    known: Authority, start_server: StartServer, tmp_path: Path
) -> None:
    """The certificate of this machine's own server is not shown: others may not know it."""
    own = Authority(tmp_path, "own").sign("own-server")
    for file, name in ((own.cert, "server.crt"), (own.key, "server.key")):
        (places.tls_folder() / name).write_bytes(file.read_bytes())
    context = known.sign().context(known.files.cert)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = start_server(answer_empty, context)
    with contextlib.closing(ServerSession(server.url, TOKEN)) as session:
        assert session.get_json(HEALTH) == {}


@pytest.mark.parametrize("token", [TOKEN, None])
def test_redirect_is_not_followed(
    known: Authority, start_server: StartServer, token: str | None
) -> None:
    """With a token and without, a redirect to plain HTTP or anywhere else is an error."""
    elsewhere = start_server(answer_empty)
    moved = response(status="307 Moved", headers={"Location": elsewhere.url + HEALTH})
    server = start_server(
        lambda request, connection: connection.sendall(moved), known.sign().context()
    )
    with (
        contextlib.closing(ServerSession(server.url, token)) as session,
        pytest.raises(PageForeign, match="redirected"),
    ):
        session.get_json(HEALTH)
    assert elsewhere.requests == []


def test_authority_imported_while_a_job_runs_is_taken_up(
    authority: Authority, start_server: StartServer
) -> None:
    """After a refusal the same session trusts what has been imported since."""
    server = start_server(answer_empty, authority.sign().context())
    with contextlib.closing(ServerSession(server.url, TOKEN)) as session:
        with pytest.raises(ServerUntrusted):
            session.get_json(HEALTH)
        import_authority(authority)
        assert session.get_json(HEALTH) == {}


def test_renewed_authority_costs_a_running_job_nothing(
    known: Authority, tmp_path: Path, start_server: StartServer
) -> None:
    """Imported in time, a server's next authority is trusted without an error in between."""
    following = Authority(tmp_path, "next")
    contexts = iter([known.sign().context(), following.sign().context()])

    def answer(request: Request, connection: socket.socket) -> None:
        server.context = next(contexts, server.context)
        connection.sendall(response(b"{}", headers={"Connection": "close"}))
        connection.shutdown(socket.SHUT_RDWR)

    server = start_server(answer, next(contexts))
    with contextlib.closing(ServerSession(server.url, TOKEN)) as session:
        session.get_json(HEALTH)
        import_authority(following)
        assert session.get_json(HEALTH) == {}


def test_variables_replace_the_systems_authorities_only(
    known: Authority, tmp_path: Path, start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REQUESTS_CA_BUNDLE and SSL_CERT_FILE stand for the system's; the bundle counts beside."""
    named = Authority(tmp_path, "named")
    ours = start_server(answer_empty, known.sign().context())
    theirs = start_server(answer_empty, named.sign("theirs").context())
    refusal(theirs.url)
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(named.files.cert))
            assert current_trust().context.cert_store_stats()["x509_ca"] == 2
            for server in (ours, theirs):
                with contextlib.closing(ServerSession(server.url)) as session:
                    assert session.get_json(HEALTH) == {}


def test_folder_of_authorities_can_be_named(
    authority: Authority,
    tmp_path: Path,
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    openssl: Callable[..., str],
) -> None:
    """REQUESTS_CA_BUNDLE names a folder as OpenSSL keeps them, too."""
    folder = tmp_path / "authorities"
    folder.mkdir()
    name = openssl("x509", "-noout", "-hash", "-in", str(authority.files.cert)).strip()
    (folder / f"{name}.0").write_bytes(authority.files.cert.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))
    server = start_server(answer_empty, authority.sign().context())
    with contextlib.closing(ServerSession(server.url)) as session:
        assert session.get_json(HEALTH) == {}


@pytest.fixture
def openssl() -> Callable[..., str]:
    """Return a call that runs openssl."""

    def run(*arguments: str) -> str:
        try:
            return subprocess.run(
                ["openssl", *arguments], check=True, capture_output=True, text=True
            ).stdout
        except FileNotFoundError:
            pytest.skip("openssl is not installed")

    return run


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_file_that_is_no_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str | None
) -> None:
    """A variable that names nothing, or something else, is an error that says which."""
    file = tmp_path / "named.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(SettingError, match=rf"of \${variable} .*named\.pem"):
        ServerSession("https://127.0.0.1:1").get_json(HEALTH)


def test_broken_bundle_is_named() -> None:
    """A bundle of the TLS folder that cannot be read trusts nobody, and says so."""
    bundle = places.tls_folder() / "ca-bundle.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(SettingError, match=r"of the TLS folder .*ca-bundle\.crt"):
        ServerSession("https://127.0.0.1:1").get_json(HEALTH)


def test_client_key_with_a_password_is_refused(
    known: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    openssl: Callable[..., str],
) -> None:
    """A job never waits at the terminal for the password of a key."""
    files = known.sign("client")
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", str(files.key), "-aes256", "-passout", "pass:x", "-out", str(locked))
    show(Files(files.cert, locked), monkeypatch)
    with pytest.raises(SettingError, match=r"client\.crt.*locked\.key") as caught:
        ServerSession("https://127.0.0.1:1").get_json(HEALTH)
    assert KEY_VARIABLE in caught.value.hint


def test_one_context_serves_a_process(known: Authority, start_server: StartServer) -> None:
    """The authorities are read once for all sessions, until one of their files changes."""
    first = current_trust()
    server = start_server(answer_empty, known.sign().context())
    with contextlib.closing(ServerSession(server.url)) as session:
        session.get_json(HEALTH)
    assert current_trust() is first
    assert server.requests


def test_forked_and_spawned_workers_make_their_own(
    known: Authority, start_server: StartServer, run_python: RunPython
) -> None:
    """After a fork, and unpickled in a spawned process, a session verifies and reads."""
    server = start_server(answer_empty, known.sign().context())
    program = """
import multiprocessing, sys
from fdss.client.session import ServerSession
from fdss.tls.trust import current_trust

def ask(session, queue, parents):
    session.get_json("/v1/health")
    queue.put(id(current_trust().context) != parents)
    session.close()

if __name__ == "__main__":
    session = ServerSession(sys.argv[1])
    session.get_json("/v1/health")
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        worker = context.Process(target=ask, args=(session, queue, id(current_trust().context)))
        worker.start()
        print(method, queue.get(timeout=60) or method != "fork")
        worker.join()
    session.close()
"""
    file = places.config_folder().parent / "workers.py"
    file.write_text(program)
    printed = run_python(str(file), server.url).stdout.split()
    assert set(printed[1::2]) == {"True"}
    assert "spawn" in printed


@pytest.mark.parametrize("variable", [True, False])
def test_unverified_session_sends_no_token_it_has_found(
    authority: Authority,
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    variable: bool,
) -> None:
    """Whoever answers without being verified gets an explicit token only."""

    def answer(request: Request, connection: socket.socket) -> None:
        wanted = request.headers.get("authorization") == f"Bearer {TOKEN}"
        connection.sendall(response(b"{}", status="200 OK" if wanted else "401 Unauthorized"))

    server = start_server(answer, authority.sign(names=["elsewhere"]).context())
    if variable:
        monkeypatch.setenv(tokens.TOKEN_VARIABLE, TOKEN)
    else:
        tokens.keep(places.token_file(int(server.url.rpartition(":")[2])), TOKEN)
    with (
        contextlib.closing(ServerSession(server.url, insecure=True)) as session,
        pytest.raises(AuthenticationRequired) as caught,
    ):
        session.get_json(HEALTH)
    assert "--token" in caught.value.hint
    assert ["authorization" in request.headers for request in server.requests] == [False]
    explicit = ServerSession(server.url, TOKEN, insecure=True)
    for session in (explicit, pickle.loads(pickle.dumps(explicit))):
        assert session.get_json(HEALTH) == {}
        session.close()


@pytest.mark.parametrize("call", [fast_load_iterable_dataset, load_remote, RemoteBackend])
def test_nothing_that_trains_can_leave_verification_out(call: Callable[..., object]) -> None:
    """The library has no argument that switches verification off."""
    assert not {"insecure", "verify"} & set(inspect.signature(call).parameters)


def test_rows_are_read_over_tls(known: Authority, start_server: StartServer) -> None:
    """A remote backend reads its rows, on one connection."""
    server = start_server(answer_pages(1000), known.sign().context())
    assert [row["n"] for row in rows_of(server)] == list(range(1000))
    assert 1 <= len(connections(server)) <= 3


def rows_of(server: RawServer) -> Iterator[Row]:
    """Yield all rows of the server's one dataset."""
    backend = RemoteBackend(server.url, "abcd", token=TOKEN)
    everything = range(len(backend))
    for rows in backend.chunks(Selection(everything, everything)):
        yield from rows.rows()


def connections(server: RawServer) -> list[ssl.SSLSocket]:
    """Return the connections that a server has spoken TLS over."""
    return [used for used in server.connections if isinstance(used, ssl.SSLSocket)]


@pytest.mark.parametrize("is_chunked", [True, False])
def test_stream_cut_without_an_end_of_tls_is_an_error(
    known: Authority, start_server: StartServer, is_chunked: bool
) -> None:
    """Who cuts the connection cannot make a dataset shorter."""
    pages = answer_pages(1000)

    def answer(request: Request, connection: socket.socket) -> None:
        if not request.path.endswith("/iter"):
            pages(request, connection)
            return
        rows = row_lines(0, 100)
        head = response(
            content_type="application/x-ndjson",
            headers=page_headers(request, length=1000),
            length=None if is_chunked else 99999,
        )
        connection.sendall(head + (chunk(rows) if is_chunked else rows))
        # The socket's own: TLS is told nothing.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    server = start_server(answer, known.sign().context())
    came: list[Row] = []
    with pytest.raises(PageCut, match="was cut after"):
        came.extend(rows_of(server))
    assert len(came) <= 100


def test_hold_breaks_a_read_over_tls_off(known: Authority, start_server: StartServer) -> None:
    """A thread that waits for bytes over TLS is freed from another one."""
    asked = threading.Event()
    server = start_server(lambda request, connection: asked.set(), known.sign().context())
    hold = Hold()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            session.stream("/v1/x", {}, headers={}, hold=hold)
        except FdssError as error:
            errors.append(error)

    with contextlib.closing(ServerSession(server.url, TOKEN)) as session:
        reader = threading.Thread(target=read)
        reader.start()
        assert asked.wait(timeout=60)
        hold.break_off()
        reader.join(timeout=60)
    assert [type(error) for error in errors] == [ServerUnreachable]


@pytest.fixture
def start_proxy(start_server: StartServer) -> Iterator[Callable[[RawServer], RawServer]]:
    """Return a call that starts a proxy whose tunnels all end at one server."""
    ends: list[socket.socket] = []

    def start(server: RawServer) -> RawServer:
        port = int(server.url.rpartition(":")[2])

        def answer(request: Request, connection: socket.socket) -> None:
            end = socket.create_connection(("127.0.0.1", port))
            ends.append(end)
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=pump, args=(end, connection))
            back.start()
            pump(connection, end)
            back.join()

        return start_server(answer)

    yield start
    for end in ends:
        end.close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until there are no more."""
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("is_right", [True, False])
def test_server_behind_a_proxy_is_verified(
    known: Authority,
    start_server: StartServer,
    start_proxy: Callable[[RawServer], RawServer],
    monkeypatch: pytest.MonkeyPatch,
    is_right: bool,
) -> None:
    """A proxy carries TLS from end to end; it sees neither the token nor a path."""
    names = ["data.invalid" if is_right else "elsewhere.invalid"]
    server = start_server(answer_empty, known.sign(names=names).context())
    proxy = start_proxy(server)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    url = "https://data.invalid:8766"
    if is_right:
        with contextlib.closing(ServerSession(url, TOKEN)) as session:
            assert session.get_json(HEALTH) == {}
    else:
        assert "is not for 'data.invalid', but for other names" in refusal(url).message
        assert server.requests == []
    assert [(seen.method, seen.target) for seen in proxy.requests] == [
        ("CONNECT", "data.invalid:8766")
    ]
    assert "authorization" not in proxy.requests[0].headers


@pytest.mark.only_on("linux")
def test_authorities_that_anybody_may_write_are_not_trusted() -> None:
    """A bundle or folder that other users may write is refused, with the mode that helps."""
    bundle = TlsFolder().bundle
    bundle.parent.mkdir(mode=0o700, parents=True)
    bundle.write_bytes(b"")
    for place, mode in ((bundle, 0o666), (bundle.parent, 0o777)):
        before = place.stat().st_mode
        place.chmod(mode)
        with pytest.raises(SettingError, match="anybody may write it"):
            current_trust()
        place.chmod(before)
