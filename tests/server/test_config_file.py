"""The configuration file as somebody writes it who means harm, or makes a mistake."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from fdss import places
from fdss.config_file import MAX_BYTES, read_config_file
from fdss.config_text import MAX_DEPTH, parse_mapping
from fdss.errors import SettingError

posix_only = pytest.mark.only_on("linux", "darwin")

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{former}'] * 9)}]\n"
    for former, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the configuration file is to be written."""
    return tmp_path / "server.yaml"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "Line 2 has an alias"),
        ("port: 1\nlocal: &x {a: *x}", "Line 2 has an alias"),
        ("port: 1\n" + "[" * (MAX_DEPTH + 1), "Line 2"),
        ("local: " + "{a: " * MAX_DEPTH + "1" + "}" * MAX_DEPTH, "deep"),
        ("[" * 100_000, "deep"),
        ("port: !!python/object/apply:os.system [id]", "Line 1 has a tag"),
        ("\nport: !!python/name:os.system", "Line 2 has a tag"),
        ("port: !!binary aGk=", "Line 1 has a tag"),
        ("port: !!timestamp 2020-13-45", "Line 1 has a tag"),
        ("port: !!int x", "not what its tag says"),
        ("port: " + "9" * 5000, "5,000 digits"),
        ("port: 1\nport: 2", "'port' stands twice, in lines 1 and 2"),
        ("local:\n  a: /\n  a: /tmp", "'a' stands twice, in lines 2 and 3"),
        ("port: 1\n\nport-: 2", "line 3"),
        ("log_level: INFO\nport: abc", "line 2"),
        ("? [1]\n: 2", "Line 1 has a key"),
        ("port: 1\n---\nport: 2", "Line 2"),
        ("port: 1\nhost: [", "Line 2"),
        ("port: \x00", "special characters"),
        ("auth_token: [hush]", "something else"),
    ],
)
def test_a_file_that_is_refused_is_refused_by_line(file: Path, text: str, told: str) -> None:
    """Aliases, depth, tags, doubles and wrong types are one sentence, without a token."""
    file.write_text(text)

    with pytest.raises(SettingError) as caught:
        read_config_file(str(file))
    assert told in caught.value.message
    assert str(file) in caught.value.message
    assert "hush" not in str(caught.value)


def test_values_are_what_they_look_like(file: Path) -> None:
    """Dates and fractions are texts, so a token of digits and an e stays itself."""
    file.write_text("auth_token: 1e5\nhost: 2020-01-01\nport: 8766\nno_hf: yes\nlocal: {a: /}")

    assert read_config_file(str(file)).values == {
        "auth_token": "1e5",
        "host": "2020-01-01",
        "port": 8766,
        "no_hf": True,
    }


def test_server_and_router_may_share_a_file(file: Path) -> None:
    """The router's section is not the server's affair, whatever it says."""
    file.write_text("port: 1\nrouter:\n  port: 2\n  no_such_key: 3\n")

    assert read_config_file(str(file)).values == {"port": 1}


def test_a_large_file_is_not_read(file: Path) -> None:
    """A file beyond any configuration is refused, however large it is."""
    with file.open("wb") as written:
        written.truncate(1 << 33)

    with pytest.raises(SettingError, match=f"more than {MAX_BYTES:,} bytes"):
        read_config_file(str(file))


@posix_only
def test_nobody_waits_for_a_default_file_that_is_a_pipe() -> None:
    """What stands where the default file would be is read only if it is a file."""
    places.server_folder().mkdir(parents=True)
    if sys.platform != "win32":
        os.mkfifo(places.default_config_file())

    with pytest.raises(SettingError, match="no regular file"):
        read_config_file(None)


@posix_only
def test_a_file_that_anybody_may_write_is_refused(file: Path) -> None:
    """Settings decide what is served: they are the operator's alone."""
    file.write_text("port: 1")
    file.chmod(0o666)

    with pytest.raises(SettingError, match="other users") as caught:
        read_config_file(str(file))
    assert f"chmod o-w {file}" in caught.value.hint
    file.chmod(0o664)
    assert read_config_file(str(file)).values == {"port": 1}


_PIECES = st.sampled_from(
    ["port", "local", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", "!!", "int ", "? "]
    + ["|\n", ">", "'", '"', "#", "%YAML 1.1\n", "---\n", "...\n", "<<", "~", "0x", "\\u", "\ud800"]
)
_TEXTS = st.one_of(st.text(), st.lists(_PIECES | st.text(max_size=3), max_size=40).map("".join))


@given(_TEXTS)
@settings(max_examples=1500, deadline=None)
def test_any_text_is_settings_or_one_error(text: str) -> None:
    """Nothing but a SettingError comes of a text that is no configuration."""
    try:
        found = parse_mapping(text)
    except SettingError as error:
        assert "\n" not in error.message
    else:
        assert all(isinstance(key, str) and value.line >= 1 for key, value in found.items())


@given(st.binary() | _TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_file_is_settings_or_one_error(file: Path, content: bytes) -> None:
    """Nothing but a SettingError comes of a file that is no configuration."""
    file.write_bytes(content)
    try:
        read_config_file(str(file))
    except SettingError as error:
        assert str(file) in error.message
