"""The bearer token: file, look-up, comparison."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fdss import places, tokens
from fdss.errors import SettingError

posix_only = pytest.mark.only_on("linux", "darwin")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_minted_token_is_64_hex_digits_and_never_the_same() -> None:
    """A fresh token has 256 random bits."""
    first, second = tokens.mint(), tokens.mint()

    assert len(first) == 64
    assert int(first, 16) != int(second, 16)


def test_a_kept_token_is_read_again(tmp_path: Path) -> None:
    """What is kept is what is read, and no other file stays behind."""
    path = tmp_path / "folder" / "8766.token"
    tokens.keep(path, "first")
    tokens.keep(path, "second")

    assert tokens.read(path) == "second"
    assert os.listdir(path.parent) == ["8766.token"]


@posix_only
def test_a_kept_token_is_for_its_owner_only(tmp_path: Path) -> None:
    """The file has mode 0600 and its folder 0700, whatever they had before."""
    path = tmp_path / "folder" / "8766.token"
    path.parent.mkdir(mode=0o755)
    path.write_text("old")
    path.chmod(0o644)
    tokens.keep(path, "token")

    assert (_mode(path), _mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_no_token_is_read_from_a_file_without_one(tmp_path: Path, content: bytes | None) -> None:
    """A missing, an empty and a binary file hold no token."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)

    assert tokens.read(path) is None


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
def test_a_private_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """The operator's token file must be its owner's alone; the hint says how."""
    path = tmp_path / "token"
    path.write_text("token")
    path.chmod(mode)

    with pytest.raises(SettingError, match="other users") as caught:
        tokens.read_private(path)
    assert caught.value.hint == f"chmod 600 {path}"


def test_a_private_file_is_read_stripped(tmp_path: Path) -> None:
    """A final newline is not part of the token."""
    path = tmp_path / "token"
    tokens.keep(path, "token")

    assert tokens.read_private(path) == "token"


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_private_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A token file that is named must exist and hold a token."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)

    with pytest.raises(SettingError, match="Token file"):
        tokens.read_private(path)


@pytest.mark.parametrize(
    ("given", "expected", "equal"),
    [
        ("secret", "secret", True),
        ("secret", "Secret", False),
        ("", "secret", False),
        ("secre", "secret", False),
        ("grüße", "secret", False),
        ("\udcff", "secret", False),
    ],
)
def test_tokens_match_only_when_equal(given: str, expected: str, equal: bool) -> None:
    """Any text can be compared, also such that is no ASCII and no Unicode."""
    assert tokens.matches(given, expected) is equal


@pytest.mark.parametrize(
    ("token", "sendable"),
    [("abc-_.~+/=", True), ("", False), ("two words", False), ("line\n", False), ("ü", False)],
)
def test_a_token_is_sendable_as_visible_ascii(token: str, sendable: bool) -> None:
    """What cannot stand in a header can be no token."""
    assert tokens.is_sendable(token) is sendable


def test_an_explicit_token_wins_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explicit, then environment, then file, then none."""
    url = "http://127.0.0.1:8766"
    found = [tokens.find(url, None)]
    tokens.keep(places.token_file(8766), "kept")
    found.append(tokens.find(url, None))
    monkeypatch.setenv(tokens.TOKEN_VARIABLE, " of-environment ")
    found.append(tokens.find(url, None))
    found.append(tokens.find(url, "explicit"))

    assert found == [None, "kept", "of-environment", "explicit"]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:8766", 8766),
        ("http://127.8.8.8:8766/", 8766),
        ("http://localhost:9000", 9000),
        ("http://LOCALHOST:9000", 9000),
        ("http://[::1]:8766", 8766),
        ("http://localhost", 80),
        ("https://localhost", 443),
    ],
)
def test_the_file_is_found_by_port_on_this_machine(url: str, port: int) -> None:
    """Loopback addresses share the file of the port; without a port it is the scheme's."""
    tokens.keep(places.token_file(port), f"of {port}")

    assert tokens.find(url, None) == f"of {port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org:8766",
        "http://10.0.0.1:8766",
        "http://127.0.0.1.example.org:8766",
        "http://localhost.example.org:8766",
        "http://localhost:99999",
        "ftp://localhost",
        "not a url",
    ],
)
def test_the_file_is_for_this_machine_only(url: str) -> None:
    """A token of this machine is never sent to another one, nor to what is no address."""
    for port in (80, 443, 8766):
        tokens.keep(places.token_file(port), "kept")

    assert tokens.find(url, None) is None
