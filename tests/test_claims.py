"""Whose the files of a port are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_port

from fdss import places, tokens
from fdss.arguments import LoadArguments
from fdss.authentication import settle
from fdss.claims import address_of, claimed_name, handles_file, token_file
from fdss.config import ServerConfig
from fdss.errors import UnknownHandle
from fdss.serving import Server


@contextmanager
def _listening(host: str, port: int = 0) -> Iterator[int]:
    with socket.create_server((host, port or free_port())) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", "127.0.0.1"),
        ("LOCALHOST.", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("0.0.0.0", "*"),
        ("::", "*"),
        ("Some.Host", "some.host"),
    ],
)
def test_an_address_has_one_spelling(host: str, address: str) -> None:
    """Spellings of one address are one claim."""
    assert address_of(host) == address


@pytest.mark.only_on("linux")
def test_two_addresses_of_a_port_have_files_of_their_own() -> None:
    """The first keeps the files where clients look; neither overwrites the other's."""
    with _listening("127.0.0.1") as port, _listening("127.0.0.2", port):
        first = settle(ServerConfig(port=port), port)
        second = settle(ServerConfig(host="127.0.0.2", port=port, regen_token=True), port)
        again = settle(ServerConfig(port=port), port)

    assert first.file == places.token_file(port)
    assert second.file == token_file("127.0.0.2", port) != first.file
    assert first.token == again.token != second.token
    assert handles_file("127.0.0.2", port) != handles_file("127.0.0.1", port)
    assert handles_file("127.0.0.1", port) == places.handles_file(port)


@pytest.mark.only_on("linux")
def test_a_client_finds_the_token_of_the_address_it_asks() -> None:
    """Each address gets its own server's token, and an address without a server gets none."""
    with _listening("127.0.0.1") as port, _listening("127.0.0.2", port):
        first = settle(ServerConfig(port=port), port).token
        second = settle(ServerConfig(host="127.0.0.2", port=port), port).token

    found = {
        host: tokens.find(f"http://{host}:{port}", None)
        for host in ("127.0.0.1", "localhost", "127.0.0.2", "127.0.0.3", "[::1]")
    }
    assert found == {
        "127.0.0.1": first,
        "localhost": first,
        "127.0.0.2": second,
        "127.0.0.3": None,
        "[::1]": None,
    }


@pytest.mark.only_on("linux")
def test_a_claim_stays_over_restarts() -> None:
    """The order in which two servers start again does not change whose file is whose."""
    with _listening("127.0.0.1") as port:
        claimed_name("127.0.0.1", port)
        with _listening("127.0.0.2", port):
            second = claimed_name("127.0.0.2", port)

    assert claimed_name("127.0.0.2", port) == second != str(port)
    assert claimed_name("127.0.0.1", port) == str(port)


def test_a_server_that_moves_keeps_its_files() -> None:
    """Nobody listens on the address of before: the files of the port are still its server's."""
    with _listening("127.0.0.1") as port:
        kept = settle(ServerConfig(port=port), port)
    moved = settle(ServerConfig(host="0.0.0.0", port=port, insecure=True), port)

    assert (moved.file, moved.token) == (kept.file, kept.token)


def test_files_of_passing_ports_are_cleared() -> None:
    """A server on any free port removes what those before it have left, but for running ones."""
    with _listening("127.0.0.1") as ended:
        settle(ServerConfig(port=0), ended)
    with _listening("127.0.0.1") as fixed:
        settle(ServerConfig(port=fixed), fixed)
    with _listening("127.0.0.1") as running, _listening("127.0.0.1") as present:
        settle(ServerConfig(port=0), running)
        settle(ServerConfig(port=0), present)

    kept = sorted(path.name for path in places.server_folder().glob("*.token"))
    assert kept == sorted(f"{port}.token" for port in (fixed, running, present))
    assert not list(places.server_folder().glob(f"*{ended}.*"))


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b"\xff", b"[" * 4000, b"x" * 10_000, b"7"])
def test_a_note_of_no_sense_is_none(note: bytes) -> None:
    """What cannot be read as a claim claims nothing."""
    places.server_folder().mkdir(parents=True)
    (places.server_folder() / "8766.claim").write_bytes(note)

    assert claimed_name("127.0.0.1", 8766) == "8766"


def test_without_a_folder_the_port_is_the_name(home: Path) -> None:
    """A server that cannot write at home still starts when it need not."""
    places.config_folder().parent.mkdir(parents=True)
    places.config_folder().write_text("")

    assert settle(ServerConfig(no_auth=True), 8766).token is None
    assert claimed_name("127.0.0.2", 8766) == "8766"


@pytest.mark.only_on("linux")
def test_servers_on_one_port_keep_their_handles_apart(tmp_path: Path) -> None:
    """What one server has loaded is no handle of the other, and each answers its own token."""
    local = {"rows": tmp_path / "rows"}
    local["rows"].mkdir()
    (local["rows"] / "own.json").write_text('{"a": 1}\n')
    arguments = LoadArguments("local/rows")
    with Server(ServerConfig(port=0, local=local)) as first:
        port = first.config.port
        with Server(ServerConfig(host="127.0.0.2", port=port, local=local)) as second:
            first.catalog.load(arguments)
            with pytest.raises(UnknownHandle):
                second.catalog.get(arguments.handle)
            second.catalog.load(replace(arguments, split="train[:1]"))
            found = [tokens.find(server.url, None) for server in (first, second)]

    assert found == [first.token, second.token]
    assert first.token != second.token
    kept = [handles_file(host, port).read_text() for host in ("127.0.0.1", "127.0.0.2")]
    assert [text.count('"path"') for text in kept] == [1, 1]
