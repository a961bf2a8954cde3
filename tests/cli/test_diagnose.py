"""status, list, cache and local, asked of a real server."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import responses
from command_line import Run

from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.tokens import TOKEN_VARIABLE
from fdss.wire.names import HUB_CACHE_PATH, LOAD_PATH, LOCAL_PATH

URL = "http://fdss.example:8766"
QUESTIONS = ["status", "list", "cache", "local"]


def test_status_shows_health_token_and_policy(run_fdss: Run, server: Server) -> None:
    """Status has the layout of the product text, with a line about the token."""
    ended = run_fdss("status", "--server", server.url)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "service: forgather-dataset-server  version: 1.0.0\n"
        "status:  ok\n"
        "auth:    token required, yours is accepted\n"
        "policy:\n"
        "  auth_required:    True\n"
        "  hf_cache_enabled: True\n"
        "  allow_paths:      False\n"
        "  allow_downloads:  False\n"
        "  local_count:      1\n"
    )


def test_status_tells_a_token_that_does_not_fit(run_fdss: Run, server: Server) -> None:
    """With a wrong token status still shows the health, and ends with 1."""
    ended = run_fdss("status", "--server", server.url, "--token", "wrong")

    assert ended.code == 1
    assert "status:  ok\nauth:    token required, yours is REFUSED\n" in ended.out
    assert ended.err.startswith("error: ")


def test_status_needs_no_token(run_fdss: Run, server: Server, home: Path) -> None:
    """Without a token status shows the health, and ends with 0."""
    for kept in home.rglob("*.token"):
        kept.unlink()
    ended = run_fdss("status", "--server", server.url)

    assert ended.code == 0
    assert "auth:    token required, none found\n" in ended.out


def test_status_of_an_open_server(run_fdss: Run, home: Path) -> None:
    """A server without authentication is shown as one."""
    with Server(ServerConfig(port=0, no_auth=True)) as server:
        ended = run_fdss("status", "--server", server.url)

    assert ended.code == 0
    assert "auth:    no token required\n" in ended.out


def test_status_as_json(run_fdss: Run, server: Server) -> None:
    """JSON has health and policy as the server sends them, and what is known of the token."""
    ended = run_fdss("status", "--server", server.url, "--json")
    document = json.loads(ended.out)

    assert document["status"] == "ok"
    assert document["policy"]["local_count"] == 1
    assert document["auth"] == {"auth_required": True, "token": "accepted"}
    assert document["server"] == server.url


def test_list_of_nothing(run_fdss: Run, server: Server) -> None:
    """A server that has loaded nothing says so."""
    assert run_fdss("list", "--server", server.url).out == "(no handles loaded)\n"


def test_list_shows_handles(run_fdss: Run, server: Server) -> None:
    """Each handle has a line: handle, length, source, arguments."""
    session = ServerSession(server.url, token=server.token)
    loaded = session.post_json(LOAD_PATH, {"path": "local/sample"})
    session.close()
    lines = run_fdss("list", "--server", server.url).out.splitlines()

    assert lines[0].split() == ["HANDLE", "LENGTH", "SOURCE", "ARGS"]
    assert lines[1] == (
        f"{loaded['handle']}  {'1,000':>10}  local   " + '{"path":"local/sample","split":"train"}'
    )
    assert lines[0].index("LENGTH") + 6 == lines[1].index("1,000") + 5


def test_local_shows_names_and_no_paths(run_fdss: Run, server: Server, sample_folder: Path) -> None:
    """Named datasets are listed as clients ask for them, without where they lie."""
    ended = run_fdss("local", "--server", server.url)
    lines = ended.out.splitlines()

    assert lines[0].split() == ["NAME", "SIZE", "SPLITS"]
    assert lines[1].startswith("local/sample  ")
    assert "1,000" in lines[1]
    assert str(sample_folder) not in ended.out


def test_local_shows_paths_when_the_server_does(
    run_fdss: Run, home: Path, sample_folder: Path
) -> None:
    """With --show-paths on the server each name is followed by its path."""
    config = ServerConfig(port=0, local={"sample": sample_folder}, show_paths=True)
    with Server(config) as server:
        lines = run_fdss("local", "--server", server.url).out.splitlines()

    assert re.match(rf"local/sample  {re.escape(str(sample_folder))}  ", lines[1])


def test_local_of_nothing(run_fdss: Run, home: Path) -> None:
    """A server without named datasets says so."""
    with Server(ServerConfig(port=0)) as server:
        ended = run_fdss("local", "--server", server.url)

    assert ended.out == "(no local mappings configured)\n"


def test_cache_of_nothing(run_fdss: Run, server: Server) -> None:
    """A server with an empty cache says so, and not where the cache is."""
    assert run_fdss("cache", "--server", server.url).out == (
        "cache_root: (hidden, see --show-paths)\ndatasets:   0\n\n(cache is empty or unreadable)\n"
    )


CACHE = {
    "cache_root": "/home/someone/.cache/huggingface/datasets",
    "datasets": [
        {
            "repo": "allenai/c4",
            "size_bytes": int(1.4 * 1024**4),
            "configs": [
                {
                    "config": "en",
                    "version": "0.0.0",
                    "size_bytes": 1,
                    "splits": [
                        {"name": "train", "num_examples": 364868892, "num_bytes": 1},
                        {"name": "validation", "num_examples": None, "num_bytes": None},
                    ],
                },
                {"config": "bare", "version": "1.0.0", "size_bytes": 1, "splits": []},
            ],
        }
    ],
}


@responses.activate
def test_cache_layout(run_fdss: Run) -> None:
    """The cache is shown as the product text shows it."""
    responses.get(URL + HUB_CACHE_PATH, json=CACHE)

    assert run_fdss("cache", "--server", URL).out == (
        "cache_root: /home/someone/.cache/huggingface/datasets\n"
        "datasets:   1\n"
        "\n"
        "- allenai/c4 (1.4 TB)\n"
        "    en @ 0.0.0  -- train=364,868,892, validation\n"
        "    bare @ 1.0.0  -- (no splits info)\n"
    )


@responses.activate
def test_names_cannot_steer_the_terminal(run_fdss: Run) -> None:
    """What a server says is printed without its control characters."""
    listed = {"name": "x\x1b[2J", "splits": [{"name": "tr\rain"}], "path": "/a\nb"}
    responses.get(URL + LOCAL_PATH, json={"local": [listed]})

    ended = run_fdss("local", "--server", URL)

    assert not set(ended.out) & set("\x1b\r")
    assert len(ended.out.splitlines()) == 2


@pytest.mark.parametrize("question", QUESTIONS)
def test_json_is_all_that_is_printed(run_fdss: Run, server: Server, question: str) -> None:
    """With --json standard output is one document, indented by two, its keys sorted."""
    ended = run_fdss(question, "--server", server.url, "--json")
    document: dict[str, Any] = json.loads(ended.out)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == json.dumps(document, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("question", QUESTIONS)
def test_environment_names_the_server(
    run_fdss: Run, server: Server, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """Without --server the server is the one of FORGATHER_DATASET_SERVER."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER", server.url)

    assert run_fdss(question).code == 0


def test_environment_gives_the_token(
    run_fdss: Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of the environment goes before the token file of the port."""
    monkeypatch.setenv(TOKEN_VARIABLE, "wrong")

    assert run_fdss("list", "--server", server.url).code == 1


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_server_is_one_line_and_a_hint(run_fdss: Run, question: str, form: list[str]) -> None:
    """A server that cannot be reached is one line and a hint on standard error, and 1."""
    with socket.socket() as taken:
        # Bound and not listening: nobody answers here, and nobody else can.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ended = run_fdss(question, "--server", url, *form)

    assert (ended.code, ended.out) == (1, "")
    error, hint = ended.err.splitlines()
    assert error.startswith("error: ")
    assert url in error
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("question", ["list", "cache", "local"])
def test_refused_token_is_one_line_and_a_hint(run_fdss: Run, server: Server, question: str) -> None:
    """A token that is refused is an error with the hint how to give another, and 1."""
    ended = run_fdss(question, "--server", server.url, "--token", "wrong")

    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 2
    assert "--token" in ended.err


@pytest.mark.parametrize("question", [*QUESTIONS, "head x"])
def test_auto_is_no_server(run_fdss: Run, monkeypatch: pytest.MonkeyPatch, question: str) -> None:
    """FORGATHER_DATASET_SERVER=auto names no single server, and the hint says what does."""
    monkeypatch.setenv("FORGATHER_DATASET_SERVER", "AUTO")
    ended = run_fdss(*question.split())

    assert (ended.code, ended.out) == (1, "")
    assert "names a cluster" in ended.err
    assert "fdss cluster servers lists its servers" in ended.err
    assert "--server URL" in ended.err


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8766", "http://", "http://[1"])
def test_malformed_url_is_refused(run_fdss: Run, url: str) -> None:
    """A URL that is none of a server is one line and a hint, and 1."""
    ended = run_fdss("status", "--server", url)

    assert ended.code == 1
    assert len(ended.err.splitlines()) == 2
