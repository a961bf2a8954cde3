"""Who gets in, what is said of those who do not, and that the token is told nowhere."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from open_files import open_files
from raw_client import LAST, get, length, load, sent, statuses

import fdss
from fdss import authentication, entrance, sites
from fdss.app import create_app
from fdss.authentication import Credential, Origin
from fdss.catalog import Catalog
from fdss.config import ServerConfig
from fdss.failures import EVERY_S, MOST_CLIENTS, OTHERS, Failures

TIMEOUT_S = 60
SECRET = "5ecre7-70ken-0f-7his-7es7"


@pytest.fixture
def open_client() -> FlaskClient:
    """Return a client of a server that wants no token."""
    config = ServerConfig(no_auth=True)
    return create_app(config, Catalog(config)).test_client()


BROWSER = {"Accept-Language": "en", "User-Agent": "Mozilla/5.0"}
NODE = {"Accept-Language": "*", "Sec-Fetch-Mode": "cors", "User-Agent": "node"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        # What programs send, under whatever name and port they reach the server.
        ({"Host": "127.0.0.1:8766"}, 200),
        ({"Host": "localhost:9999"}, 200),
        ({"Host": "[::1]:8766"}, 200),
        ({"Host": "data.example.org"}, 200),
        ({"Host": "gpu7:8766"}, 200),
        ({"Host": "data.example.org", "User-Agent": "curl/8", "Accept": "*/*"}, 200),
        ({"Host": "data.example.org", "X-Forwarded-For": "10.0.0.1", "Via": "1.1 proxy"}, 200),
        # A person who types the address, also through a tunnel.
        ({**BROWSER, "Host": "127.0.0.1:8766", "Sec-Fetch-Site": "none"}, 200),
        ({**BROWSER, "Host": "localhost:9999", "Sec-Fetch-Site": "none"}, 200),
        ({**BROWSER, "Host": "192.168.1.5:8766"}, 200),
        ({**BROWSER, "Host": "[::1]:8766"}, 200),
        ({**BROWSER, "Host": "gpu7:8766"}, 200),
        ({**BROWSER, "Host": "gpu7.local:8766"}, 200),
        ({**BROWSER, "Host": "this-machine.example.org"}, 200),
        ({**BROWSER, "Host": "localhost:8766", "Origin": "http://localhost:8766"}, 200),
        # A program that asks with the fetch of Node, and a page that looks like one.
        ({**NODE, "Host": "127.0.0.1:8766"}, 200),
        ({**NODE, "Host": "gpu7:8766"}, 200),
        ({**NODE, "Host": "data.example.org"}, 403),
        ({"Accept-Language": "*", "Host": "evil.example:8766"}, 403),
        # A page whose name was made to lead here.
        ({**BROWSER, "Host": "evil.example:8766"}, 403),
        ({**BROWSER, "Host": "evil.example:8766", "Sec-Fetch-Site": "same-origin"}, 403),
        ({**BROWSER, "Host": "127.0.0.1.evil.example:8766"}, 403),
        ({**BROWSER, "Host": "localhost.evil.example"}, 403),
        ({**BROWSER, "Host": "evil.example:8766", "Origin": "http://evil.example:8766"}, 403),
        ({"Accept-Language": "", "Host": "evil.example"}, 403),
        # A page of another site that asks this one.
        ({"Host": "127.0.0.1:8766", "Origin": "http://evil.example"}, 403),
        ({"Host": "127.0.0.1:8766", "Origin": "http://127.0.0.1:3000"}, 403),
        ({"Host": "127.0.0.1:8766", "Origin": "null"}, 403),
        ({"Host": "127.0.0.1:8766", "Origin": "http://[::1"}, 403),
        ({"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "127.0.0.1:8766", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/health"])
def test_pages_of_other_sites_are_kept_out_and_nobody_else(
    open_client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    headers: dict[str, str],
    status: int,
) -> None:
    """Without a token a browser is let in where no other site can have sent it."""
    monkeypatch.setattr(sites, "_this_machine", lambda: "this-machine.example.org")
    answer = open_client.get(path, headers=headers)

    assert answer.status_code == status
    if status == 403:
        assert answer.get_json()["code"] == "cross-site-refused"


def test_a_page_cannot_load_either(open_client: FlaskClient) -> None:
    """A request without a type, which a page may send anywhere, opens nothing."""
    answer = open_client.post(
        "/v1/load", data=b'{"path": "x/y"}', headers={"Origin": "http://evil.example"}
    )

    assert answer.get_json()["code"] == "cross-site-refused"


def test_with_a_token_names_are_of_no_interest(client: FlaskClient) -> None:
    """Whoever has the token may come from anywhere: no page of another site has it."""
    headers = {**BROWSER, "Host": "data.example.org", "Origin": "https://app.example.org"}

    assert client.get("/v1/datasets", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/health"),
        ("GET", "/v1/datasets"),
        ("GET", "/v1/datasets/HANDLE/iter"),
        ("HEAD", "/v1/datasets/HANDLE/iter"),
        ("GET", "/v1/openapi.json"),
        ("GET", "/unknown"),
        ("POST", "/v1/health"),
        ("POST", "/v1/load"),
    ],
)
def test_no_answer_is_kept_or_guessed_at(
    client: FlaskClient, handle: str, method: str, path: str
) -> None:
    """Every answer forbids browsers to guess what it is, and caches to keep it."""
    answer = client.open(path.replace("HANDLE", handle), method=method)

    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.getlist("Cache-Control") == ["no-store"]


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_attempts_of_an_address_are_one_line_in_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first is told at once, the others together, with their number."""
    clock = Clock()
    failures = Failures(clock)
    for number in range(1000):
        failures.note("10.0.0.1", has_token=number % 4 == 0)
        failures.tell_due()
    assert caplog.messages == ["10.0.0.1 asked with a wrong token and was refused"]

    clock.now_s += EVERY_S
    failures.tell_due()
    failures.tell_due()
    assert caplog.messages[1:] == [
        "10.0.0.1 asked 249 times with a wrong token and 750 times with none in 10 s"
        " and was refused"
    ]

    clock.now_s += EVERY_S
    failures.tell_due()
    failures.note("10.0.0.1", has_token=False)
    assert caplog.messages[2:] == ["10.0.0.1 asked with no token and was refused"]


def test_attempts_of_many_addresses_fill_neither_memory_nor_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Beyond a thousand addresses the others are told as one."""
    clock = Clock()
    failures = Failures(clock)
    for number in range(MOST_CLIENTS + 500):
        failures.note(f"10.0.{number // 256}.{number % 256}", has_token=True)
    clock.now_s += EVERY_S
    failures.tell_due()

    assert len(caplog.messages) <= MOST_CLIENTS + 3
    assert [line for line in caplog.messages if line.startswith(f"{OTHERS} asked 499 times")]


def test_a_failed_attempt_is_logged_with_its_address(
    config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says who asked, and not with what."""
    client = create_app(config, Catalog(config)).test_client()
    client.get("/v1/datasets", headers={"Authorization": f"Bearer {SECRET}"})

    assert "127.0.0.1 asked with a wrong token and was refused" in caplog.messages
    assert SECRET not in caplog.text


def test_objects_do_not_show_the_token(config: ServerConfig) -> None:
    """What a traceback or a debugger prints of a configuration has no token in it."""
    shown = [
        repr(ServerConfig(auth_token=SECRET)),
        str(ServerConfig(auth_token=SECRET).as_lines()),
        repr(Credential(Origin.GIVEN, SECRET)),
        repr(authentication.settle(ServerConfig(auth_token=SECRET), 1)),
    ]
    opened = entrance.open_entrance(ServerConfig(auth_token=SECRET, port=0))
    opened.socket.close()

    assert not [text for text in [*shown, repr(opened)] if SECRET in text]


@contextmanager
def _started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], int, list[str]]]:
    """Run ``fdss start`` on any port; yield it, the port and the lines that it writes."""
    child = subprocess.Popen(
        [sys.executable, "-m", "fdss", "start", "--port", "0", *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert child.stdout is not None
    written: list[str] = []
    try:
        for line in child.stdout:
            written.append(line)
            if found := re.search(r"dataset_server URL: .*:(\d+)", line):
                break
        assert found, written
        reader = threading.Thread(target=lambda: written.extend(child.stdout or ()))
        reader.start()
        yield child, int(found[1]), written
        child.terminate()
        assert child.wait(TIMEOUT_S) == 0
        reader.join()
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _kinds_of_requests() -> list[bytes]:
    token = f"Authorization: Bearer {SECRET}\r\n".encode()
    wrong = token.replace(b"\r\n", b"x\r\n")
    paths = ("/v1/health", "/v1/datasets", "/v1/local", "/v1/datasets/x/iter", "/%00")
    bodies = (b"{}", b"[", b'{"path": "local/x"}', b'{"path": "local/broken"}')
    return [
        *(get(path, header, LAST) for path in paths for header in (token, wrong, b"")),
        *(load(body, token, LAST, length(body)) for body in bodies),
        get("/v1/datasets", token, token, LAST),
        get("/v1/datasets", token[:-2] + b"\n", LAST),
        get("/v1/datasets", b" " + token, LAST),
        get("/v1/datasets", token.replace(b": ", b" : "), LAST),
        get("/v1/datasets", token.replace(b"Bearer", b"Bearer\xff"), LAST),
        get("/v1/datasets", token.replace(b"Bearer", b"Basic"), LAST),
        get("/v1/datasets", token.replace(b"\r\n", b"y" * 70_000 + b"\r\n"), LAST),
        load(b"", token, b"Content-Length: 99999999999\r\n"),
        load(b"xx", token, b"Transfer-Encoding: chunked\r\n", length(b"xx")),
        b"NO REQUEST\r\n" + token + b"\r\n",
    ]


@pytest.mark.only_on("linux")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_process_tells_the_token(tmp_path: Path, home: Path, workers: str) -> None:
    """Neither what a server writes, nor its command lines, environments and files, nor answers."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET)
    (tmp_path / "broken").mkdir()
    arguments = ["--auth-token-file", str(secret), "--quiet-tokens", "--log-level", "DEBUG"]
    arguments += ["--workers", workers, "--local", f"broken={tmp_path / 'broken'}"]
    with _started(*arguments) as (child, port, written):
        answers = [sent(port, request) for request in _kinds_of_requests()]
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            leaving.sendall(_kinds_of_requests()[0][:-9])
        processes = [Path("/proc", str(pid)) for pid in (child.pid, *_children(child.pid))]
        shown = [
            (process / name).read_bytes()
            for process, name in itertools.product(processes, ("cmdline", "environ", "comm"))
        ]

    assert len(processes) >= int(workers)
    assert {status for answer in answers for status in statuses(answer)} >= {200, 400, 401, 413}
    assert len(written) > 20
    assert SECRET not in "".join(written)
    assert not [data for data in [*shown, *answers] if SECRET.encode() in data]
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path("/proc", str(pid), "task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.only_on("linux")
def test_the_files_that_may_be_open_hold_in_every_worker(tmp_path: Path) -> None:
    """The raised limit is told at start, and is that of the workers."""
    with open_files(256), _started("--no-auth", "--no-hf", "--workers", "2") as started:
        child, _, written = started
        limits = [_open_files(pid) for pid in (child.pid, *_children(child.pid))]

    assert len(limits) >= 3
    assert min(limits) > 256
    assert f"limit of open files raised from 256 to {max(limits)}" in "".join(written)


def _open_files(pid: int) -> int:
    found = re.search(r"Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text())
    assert found
    return int(found[1])


@pytest.mark.only_on("linux")
def test_where_few_files_may_be_open_the_server_says_so(tmp_path: Path) -> None:
    """A hard limit that leaves room for few connections is told, and health answers."""
    code = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300));"
        "sys.argv[0] = 'fdss'; runpy.run_module('fdss', run_name='__main__')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "start", "--port", "0", "--no-auth", "--no-hf"],
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert child.stderr is not None
    with child, child.stderr:
        written = ""
        while not (found := re.search(r"URL: .*:(\d+)", written)):
            written += child.stderr.readline()
        health = sent(int(found[1]), get("/v1/health", LAST))
        child.terminate()

    assert statuses(health) == [200]
    assert "lets this process open no more than 300 files" in written
