"""The bearer token: file, look-up, comparison."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from fdss import places, tokens
from fdss.authentication import settle
from fdss.client.remote import RemoteBackend
from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.errors import FdssError, SettingError
from fdss.files import is_foreign

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


@posix_only
def test_a_token_is_private_from_its_first_byte(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Between any two calls of the system, nothing of the file or its folders is for others."""
    code = (
        "import os, stat, sys\n"
        "from pathlib import Path\n"
        "from fdss import tokens\n"
        "os.umask(0)\n"
        "top = Path(sys.argv[1])\n"
        "looks = seen = 0\n"
        "is_looking = False\n"
        "def look(event, arguments):\n"
        "    global looks, seen, is_looking\n"
        "    if is_looking or not event.startswith(('open', 'os.')):\n"
        "        return\n"
        "    is_looking = True\n"
        "    for path in top.rglob('*'):\n"
        "        seen += 1\n"
        "        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path\n"
        "    looks += 1\n"
        "    is_looking = False\n"
        "sys.addaudithook(look)\n"
        "for _ in range(3):\n"
        "    tokens.keep(top / 'a' / 'b' / '8766.token', tokens.mint())\n"
        "look('open', ())\n"
        "print(looks > 6 and seen > 12)\n"
    )

    assert run_python("-c", code, str(tmp_path / "top")).stdout.strip() == "True"


@posix_only
@pytest.mark.parametrize("kind", ["pipe", "large", "device", "folder", "loop"])
def test_no_token_is_waited_for(tmp_path: Path, kind: str) -> None:
    """What is no small regular file holds no token, and is given up at once."""
    path = tmp_path / "token"
    _make_odd(path, kind)

    assert tokens.read(path) is None
    assert tokens.read_kept(path) is None
    with pytest.raises(SettingError, match="cannot be read"):
        tokens.read_private(path)


def _make_odd(path: Path, kind: str) -> None:
    if kind == "pipe" and sys.platform != "win32":
        os.mkfifo(path, 0o600)
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(1 << 30)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)


@posix_only
def test_a_link_to_a_private_file_is_followed(tmp_path: Path) -> None:
    """It is the file that has to be private, and not the link; nor is the file replaced."""
    kept, link = tmp_path / "kept", tmp_path / "link"
    tokens.keep(kept, "token")
    link.symlink_to(kept)
    assert tokens.read_private(link) == "token"
    kept.chmod(0o644)
    with pytest.raises(SettingError, match="other users"):
        tokens.read_private(link)
    tokens.keep(link, "fresh")

    assert (tokens.read(kept), tokens.read(link)) == ("token", "fresh")


@posix_only
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Only what the user or the system wrote is taken for a token."""
    path = tmp_path / "token"
    tokens.keep(path, "token")
    found = path.stat()
    if sys.platform != "win32":
        others = os.stat_result((found.st_mode, 0, 0, 1, os.geteuid() + 1, 0, 6, 0, 0, 0))
        systems = os.stat_result((found.st_mode, 0, 0, 1, 0, 0, 6, 0, 0, 0))

        assert (is_foreign(found), is_foreign(others), is_foreign(systems)) == (False, True, False)
        if os.geteuid() == 0:
            os.chown(path, 12345, -1)
            with pytest.raises(SettingError, match="belongs to another user"):
                tokens.read_private(path)


@posix_only
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_a_client_sends_no_token_that_others_may_use(mode: int) -> None:
    """A file that is found and is not private is refused, and the hint says what helps."""
    file = places.token_file(8766)
    tokens.keep(file, "token")
    file.chmod(mode)

    with pytest.raises(SettingError, match="other users") as caught:
        tokens.find("http://127.0.0.1:8766", None)
    assert caught.value.hint == f"chmod 600 {file}"
    assert tokens.find("http://127.0.0.1:8766", "explicit") == "explicit"


@posix_only
@pytest.mark.parametrize(("mode", "is_kept"), [(0o600, True), (0o644, True), (0o666, False)])
def test_a_server_keeps_no_token_that_others_could_write(mode: int, is_kept: bool) -> None:
    """What others could read is made private; what they could write is replaced."""
    file = places.token_file(8766)
    tokens.keep(file, "token")
    file.chmod(mode)
    settled = settle(ServerConfig(), 8766)

    assert (settled.token == "token") is is_kept
    assert (tokens.read_private(file), _mode(file)) == (settled.token, 0o600)


@posix_only
def test_a_token_that_cannot_be_kept_is_one_sentence() -> None:
    """A server whose token file cannot be written says so, and what to do."""
    file = places.token_file(8766)
    file.mkdir(parents=True)

    with pytest.raises(SettingError, match="cannot be written") as caught:
        settle(ServerConfig(), 8766)
    assert "--auth-token-file" in caught.value.hint


def test_a_server_takes_no_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is the client's: a server that is started beside one mints its own."""
    monkeypatch.setenv(tokens.TOKEN_VARIABLE, "of-the-client")

    assert len(settle(ServerConfig(), 8766).token or "") == 64


def test_a_token_is_in_no_repr_and_no_line(tmp_path: Path) -> None:
    """What is printed, logged or raised of settings and of a client never has the token."""
    config = ServerConfig(auth_token="hush-hush", local={"rows": tmp_path})
    backend = RemoteBackend("http://127.0.0.1:1", "0" * 16, token="hush-hush")
    shown = [repr(config), *config.as_lines(), repr(backend), repr(vars(backend).keys())]
    with pytest.raises(FdssError) as caught:
        len(backend)
    shown += traceback.format_exception(caught.value)

    assert [text for text in shown if "hush" in text] == []


def test_a_found_token_stays_on_this_machine() -> None:
    """A pickled client has the token it was given, which its workers need, and no found one."""
    tokens.keep(places.token_file(8766), "found-here")
    backend = RemoteBackend("http://127.0.0.1:8766", "0" * 16)
    session = ServerSession("http://127.0.0.1:8766")

    assert b"found-here" not in pickle.dumps(backend)
    assert repr(session) == object.__repr__(session) or "found-here" not in repr(session)


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
