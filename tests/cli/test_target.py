"""Which server the diagnostic commands ask, and what ``--insecure`` gives up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority
from command_line import Run

from fdss import places, tokens
from fdss.client.loader import SERVER_VARIABLE
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.tokens import TOKEN_VARIABLE

COMMANDS = [["status"], ["list"], ["cache"], ["local"], ["head", "local/sample"]]


@pytest.fixture
def secure_server(tmp_path: Path, home: Path, sample_folder: Path) -> Iterator[Server]:
    """Run a server whose authority nobody has imported."""
    files = Authority(tmp_path).sign()
    config = ServerConfig(
        port=0, local={"sample": sample_folder}, tls_cert=files.cert, tls_key=files.key
    )
    with Server(config) as running:
        yield running


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_unknown_authority_ends_every_command(
    run_fdss: Run, secure_server: Server, command: list[str]
) -> None:
    """Without the flag a server that is not verified is not asked."""
    ended = run_fdss(*command, "--server", secure_server.url)

    assert (ended.code, ended.out) == (1, "")
    assert "does not know" in ended.err
    assert "hint: " in ended.err
    assert "fdss tls import-ca" in ended.err


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command[0]))
def test_insecure_asks_a_server_that_is_not_verified(
    run_fdss: Run, secure_server: Server, command: list[str]
) -> None:
    """With the flag and a token every command works, and warns on stderr."""
    assert secure_server.token is not None
    told = ["--server", secure_server.url, "--token", secure_server.token, "--json"]
    ended = run_fdss(*command, *told, "--insecure")

    assert ended.code == 0
    assert json.loads(ended.out)
    assert ended.err == (
        f"warning: --insecure: whoever answers at {secure_server.url} is taken for the server\n"
    )


def test_insecure_sends_no_token_that_was_found(
    run_fdss: Run, secure_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the environment's token nor that of a file goes to an unverified server."""
    assert secure_server.token is not None
    assert tokens.find(secure_server.url, None) == secure_server.token
    monkeypatch.setenv(TOKEN_VARIABLE, secure_server.token)
    ended = run_fdss("status", "--server", secure_server.url, "--insecure")
    refused = run_fdss("list", "--server", secure_server.url, "--insecure")

    assert ended.code == 0
    assert "token required, none found" in ended.out
    assert refused.code == 1
    assert "no token but one given with --token" in refused.err


def test_insecure_changes_nothing_over_http(run_fdss: Run, server: Server) -> None:
    """Over http the flag is told to have no effect, and the token is found as ever."""
    ended = run_fdss("status", "--server", server.url, "--insecure")

    assert ended.code == 0
    assert "yours is accepted" in ended.out
    assert f"no effect on {server.url}" in ended.err


@pytest.mark.parametrize(
    ("enabled", "has_key", "scheme"),
    [(True, True, "https"), (False, True, "http"), (True, False, "http")],
)
def test_default_server_speaks_as_the_tls_folder_says(
    run_fdss: Run, tmp_path: Path, enabled: bool, has_key: bool, scheme: str
) -> None:
    """Without a URL the server of this machine is asked, over https once TLS is set up."""
    folder = places.tls_folder()
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"enabled: {json.dumps(enabled)}\n")
    files = Authority(tmp_path).sign()
    (folder / "server.crt").write_bytes(files.cert.read_bytes())
    if has_key:
        (folder / "server.key").write_bytes(files.key.read_bytes())
    assert f"{scheme}://127.0.0.1:8766" in run_fdss("status").err


def test_variable_beats_the_default(run_fdss: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's server is asked where no flag names one."""
    monkeypatch.setenv(SERVER_VARIABLE, "http://127.0.0.1:1")
    ended = run_fdss("status")
    assert "http://127.0.0.1:1" in ended.err
