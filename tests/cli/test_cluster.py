"""``fdss router`` and ``fdss cluster`` as a person calls them, with a real router and server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import FAST, Client, eventually, register
from command_line import Run

import fdss
from fdss import tokens
from fdss.config import ServerConfig
from fdss.places import router_token_file, token_file
from fdss.router.config import RouterConfig
from fdss.router.names import registry_file
from fdss.router.serving import RouterServer
from fdss.serving import Server

URL = "http://host.example:8766"


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Run a router that knows the server, and let the commands find it."""
    register(server.url, server.token)
    with RouterServer(RouterConfig(ServerConfig(port=0)), FAST) as router:
        monkeypatch.setenv("FORGATHER_SERVER_URL", router.url)
        running = Client(router)
        eventually(lambda: running.knows(1))
        yield running


def test_a_token_that_this_machine_keeps_is_told(run_fdss: Run) -> None:
    """A server of this machine that is listed without a token is asked with the one it keeps."""
    run_fdss("router", "add", "http://127.0.0.1:8766")

    missing = run_fdss("router", "list").out
    tokens.keep(token_file(8766), "secret-token")
    kept = run_fdss("router", "list").out

    assert missing.splitlines()[1].split()[-2:] == ["-", "-"]
    assert "(kept here)" in kept and "secret-token" not in kept


def test_registry_is_kept_from_the_command_line(home: Path, run_fdss: Run) -> None:
    """Servers are added, listed and removed; no command prints a token."""
    token = home / "token"
    token.write_text("secret-token\n", "utf-8")
    token.chmod(0o600)

    added = run_fdss("router", "add", f"{URL}/", "--label", "one", "--token-file", str(token))
    listed = run_fdss("router", "list")
    as_json = json.loads(run_fdss("router", "list", "--json").out)

    (entry,) = as_json["servers"]
    assert (entry["base_url"], entry["label"], entry["has_auth_token"]) == (URL, "one", True)
    assert added.out == f"added {entry['id']}  {URL}\n"
    assert listed.out.splitlines()[1].split()[2:] == [URL, "one", "(set)", "-"]
    assert "secret-token" not in added.out + listed.out + str(as_json)
    assert added.err.startswith("warning: whoever is between")
    assert "secret-token" in registry_file().read_text("utf-8")

    assert run_fdss("router", "remove", "one").code == 0
    assert "no servers registered" in run_fdss("router", "list").out
    assert run_fdss("router", "remove", "one").code == 1
    assert run_fdss("router", "add", "nonsense").code == 1


def test_datasets_lists_servers_and_datasets(client: Client, server: Server, run_fdss: Run) -> None:
    """The summary, a line a server and a line a dataset; verbose, what is known beyond."""
    ended = run_fdss("cluster", "datasets")

    lines = ended.out.splitlines()
    server_id = client.router.router.server_list()["servers"][0]["server_id"]
    assert lines[0].startswith("is_master=True servers=1 datasets=1 last_pass=")
    assert lines[2:4] == ["SERVERS", f"  {server_id:14} {server.url:45} registry peer=- ok"]
    assert lines[5:] == [
        "DATASETS",
        f"  {'local/sample':28} local  {'len=1,000':14} hosts={server_id}",
    ]

    verbose = run_fdss("cluster", "datasets", "-v").out
    assert "healthy=1/1  polls(health)=0/" in verbose
    assert 'load_args={"path": "local/sample"}' in verbose
    assert "columns=text, number" in verbose


def test_inventory_is_one_json_document(client: Client, run_fdss: Run) -> None:
    """``--json`` prints what the router answers."""
    found = json.loads(run_fdss("cluster", "datasets", "--json").out)
    servers = json.loads(run_fdss("cluster", "servers", "--json").out)

    assert found["datasets"][0]["dataset_id"] == "local/sample"
    assert servers["servers"][0]["server_id"] == found["servers"][0]["server_id"]
    assert "health" in run_fdss("cluster", "servers").out


def test_resolve_shows_the_token_only_when_asked(
    client: Client, server: Server, run_fdss: Run
) -> None:
    """The token is hidden in text and JSON, and printed with ``--show-token``."""
    assert server.token is not None
    text = run_fdss("cluster", "resolve", "local/sample").out
    document = json.loads(run_fdss("cluster", "resolve", "local/sample", "--json").out)
    shown = run_fdss("cluster", "resolve", "local/sample", "--show-token").out

    server_id = document["server_id"]
    assert text == f"server_id: {server_id}\nbase_url:  {server.url}\ntoken:     (set)\n"
    assert document == {"base_url": server.url, "server_id": server_id, "has_auth_token": True}
    assert shown.endswith(f"token:     {server.token}\n")
    told = run_fdss("cluster", "resolve", "local/sample", "--json", "--show-token").out
    assert json.loads(told)["auth_token"] == server.token


def test_resolve_that_fails_ends_with_two(client: Client, run_fdss: Run) -> None:
    """A name that nobody serves is said on stderr, exit code 2."""
    ended = run_fdss("cluster", "resolve", "local/nope")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("resolve failed: No healthy dataset_server can serve 'local/nope'")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("status", "service: forgather-dataset-server"),
        ("list", "(no datasets loaded on this server)"),
        ("cache", "(HF cache empty or unreadable)"),
        ("local", "local/sample"),
    ],
)
def test_one_server_is_asked_through_the_router(
    client: Client, run_fdss: Run, question: str, expected: str
) -> None:
    """What the diagnostic commands ask a server, the router asks one of its cluster."""
    server_id = client.router.router.server_list()["servers"][0]["server_id"]

    ended = run_fdss("cluster", "server", server_id, question)

    assert (ended.code, expected in ended.out) == (0, True)
    assert json.loads(run_fdss("cluster", "server", server_id, question, "--json").out)


def test_server_that_is_none_ends_with_one(client: Client, run_fdss: Run) -> None:
    """An id that no server has is an error, exit code 1."""
    ended = run_fdss("cluster", "server", "nobody", "list")

    assert (ended.code, ended.err.startswith("list failed: No server")) == (1, True)


def test_router_that_is_not_there_is_told(home: Path, run_fdss: Run) -> None:
    """Without a router the commands say what to start."""
    ended = run_fdss("cluster", "datasets", "--server", "http://127.0.0.1:1")

    assert ended.code == 1
    assert "fdss router start" in ended.err


def test_wrong_token_is_told(client: Client, run_fdss: Run) -> None:
    """A token that the router refuses is an error that names where the right one lies."""
    ended = run_fdss("cluster", "--token", "wrong", "datasets")

    assert ended.code == 1
    assert "FORGATHER_SERVER_TOKEN" in ended.err
    assert str(router_token_file()) in ended.err


def test_wrong_setting_of_the_router_is_wrong_usage(home: Path, run_fdss: Run) -> None:
    """A router is not started with a value that is none, nor on a network without TLS."""
    assert run_fdss("router", "start", "--membership", "consul").code == 2
    assert run_fdss("router", "start", "--host", "0.0.0.0", "--port", "0").code == 2
    assert run_fdss("router", "start", "--config", str(home / "none.yaml")).code == 2


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_started_router_answers_and_ends(
    server: Server, run_fdss: Run, number: signal.Signals
) -> None:
    """``fdss router start`` tells its URL, finds the registered server, and ends on a signal."""
    register(server.url, server.token)
    process = subprocess.Popen(
        [sys.executable, "-m", "fdss", "router", "start", "--port", "0", "--quiet-tokens"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(Path(fdss.__file__).parents[1])},
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("router URL: "))
        url = line.split()[-1].rstrip("/")
        command = ("cluster", "--server", url, "resolve", "local/sample")
        eventually(lambda: run_fdss(*command).code == 0)

        process.send_signal(number)

        log = process.stderr.read()
        assert process.wait(60) == 0
        assert "stopped" in log
        assert server.token is not None
        assert server.token not in log
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
