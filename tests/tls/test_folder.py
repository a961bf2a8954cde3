"""The TLS folder and its config.yaml."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings, strategies as st

from fdss import places
from fdss.errors import SettingError
from fdss.tls.folder import MAX_CONFIG_BYTES, TlsConfig, TlsFolder

FORGATHER = """\
enabled: true
auto_on_non_loopback: false
verify_hostname: true
ca_cert: ca/ca.crt
ca_key: /srv/keys/ca.key
ca_serial: null
server_cert: server.crt
san: {hostnames: [data.lab], ips: [10.0.0.7], zone: lab}
validity_days: 100
cluster: {peers: [a, b]}
"""


def test_the_folder_stands_in_the_configuration(home: Path) -> None:
    """The TLS folder is tls/ in Forgather's configuration folder."""
    assert TlsFolder().root == places.config_folder() / "tls"


def test_a_variable_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORGATHER_TLS_DIR moves the TLS folder."""
    monkeypatch.setenv("FORGATHER_TLS_DIR", str(tmp_path / "elsewhere"))

    assert TlsFolder().root == tmp_path / "elsewhere"


def test_the_layout_is_forgathers(tmp_path: Path) -> None:
    """Without a config.yaml every file lies where Forgather has it, and TLS is off."""
    folder = TlsFolder(tmp_path)
    paths = [
        folder.config_file,
        folder.ca_cert,
        folder.ca_key,
        folder.ca_serial,
        folder.server_cert,
        folder.server_key,
        folder.trusted,
        folder.bundle,
    ]

    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "config.yaml",
        "ca/ca.crt",
        "ca/ca.key",
        "ca/ca.srl",
        "server.crt",
        "server.key",
        "trusted",
        "ca-bundle.crt",
    ]
    assert not folder.config.enabled
    assert (folder.config.validity_days, folder.config.ca_validity_days) == (825, 3650)


def test_a_file_of_forgather_is_read(tmp_path: Path) -> None:
    """Relative paths are relative to the folder, absolute ones stand, null is the default."""
    (tmp_path / "config.yaml").write_text(FORGATHER, "utf-8")
    folder = TlsFolder(tmp_path)

    assert folder.ca_cert == tmp_path / "ca" / "ca.crt"
    assert folder.ca_key == Path("/srv/keys/ca.key")
    assert folder.ca_serial == tmp_path / "ca" / "ca.srl"
    assert folder.config.enabled
    assert (folder.config.hostnames, folder.config.ips) == (("data.lab",), ("10.0.0.7",))
    assert (folder.config.validity_days, folder.config.ca_validity_days) == (100, 3650)


def test_what_is_not_changed_stays(tmp_path: Path) -> None:
    """Saving keeps paths as they are spelled, and every key that FDSS does not know."""
    (tmp_path / "config.yaml").write_text(FORGATHER, "utf-8")
    folder = TlsFolder(tmp_path)
    folder.save(dataclasses.replace(folder.config, enabled=False, ips=("10.0.0.8",)))
    before, after = yaml.safe_load(FORGATHER), yaml.safe_load(folder.config_file.read_text("utf-8"))

    san = {"hostnames": ["data.lab"], "ips": ["10.0.0.8"], "zone": "lab"}
    expected = {**before, "enabled": False, "san": san, "ca_serial": after["ca_serial"]}
    assert {key: after[key] for key in before} == expected
    assert not folder.config.enabled


def test_a_fresh_file_has_every_key(tmp_path: Path) -> None:
    """A fresh config.yaml has all keys of Forgather's, with absolute paths."""
    folder = TlsFolder(tmp_path / "tls")
    folder.save(TlsConfig(enabled=True))
    document = yaml.safe_load(folder.config_file.read_text("utf-8"))

    assert set(document) == {
        *("enabled", "auto_on_non_loopback", "verify_hostname", "san"),
        *("ca_cert", "ca_key", "ca_serial", "server_cert", "server_key"),
        *("ca_bundle", "trusted_dir", "validity_days", "ca_validity_days"),
    }
    assert Path(document["server_key"]) == folder.server_key
    assert Path(document["server_key"]).is_absolute()


@pytest.mark.only_on("linux", "darwin")
def test_folder_and_file_are_private(tmp_path: Path) -> None:
    """The folder is 0700 and config.yaml 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        folder = TlsFolder(tmp_path / "tls")
        folder.save(TlsConfig())
    finally:
        os.umask(before)

    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.config_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "{[",
        "- enabled",
        "enabled: 'yes'",
        "enabled: 1",
        "validity_days: 0",
        "validity_days: 36501",
        "validity_days: true",
        "ca_cert: 3",
        "ca_cert: ''",
        'ca_cert: "a\\0b"',
        "ca_cert: " + "a" * 201,
        "ca_cert: " + "a/" * 600,
        "san: [a]",
        "san: {hostnames: a}",
        "san: {ips: [10]}",
        "a: !!python/object/apply:os.system [ls]",
        "[" * 20_000,
        "a: &a [*a, *b]",
        "\x00",
        "x" * (MAX_CONFIG_BYTES + 1),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_wrong_file_is_a_setting_error(tmp_path: Path, text: str) -> None:
    """Whatever is wrong in config.yaml is a SettingError that names the file."""
    (tmp_path / "config.yaml").write_text(text, "utf-8")

    with pytest.raises(SettingError, match="config\\.yaml"):
        TlsFolder(tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["enabled", "ca_cert", "server_key", "san", "validity_days", "other"])
SAN = st.dictionaries(st.sampled_from(["hostnames", "ips", "other"]), VALUES, max_size=3)


@given(st.binary(max_size=200) | st.dictionaries(KEYS, VALUES | SAN, max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | dict[str, Any]
) -> None:
    """Whatever stands in config.yaml is read and written again, or is a SettingError."""
    root = tmp_path_factory.getbasetemp() / "any-config"
    root.mkdir(exist_ok=True)
    file = root / "config.yaml"
    file.write_bytes(content if isinstance(content, bytes) else yaml.safe_dump(content).encode())
    try:
        folder = TlsFolder(root)
    except SettingError as error:
        assert str(file) in error.message
        return
    before = folder.config
    folder.save(before)

    assert {**folder.config.__dict__, "written": 0, "paths": 0} == {
        **before.__dict__,
        "written": 0,
        "paths": 0,
    }


def test_a_file_that_is_no_text_is_a_setting_error(tmp_path: Path) -> None:
    """Bytes that are no text, and a folder in the file's place, are SettingErrors."""
    file = tmp_path / "config.yaml"
    file.write_bytes(b"enabled: \xff\xfe")
    with pytest.raises(SettingError, match="not YAML"):
        TlsFolder(tmp_path)
    file.unlink()
    file.mkdir()

    with pytest.raises(SettingError, match="cannot be read"):
        TlsFolder(tmp_path)


@pytest.mark.only_on("linux", "darwin")
def test_a_pipe_in_its_place_is_refused_at_once(tmp_path: Path) -> None:
    """Nobody waits for whoever may write to it."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "config.yaml")

    with pytest.raises(SettingError, match="no regular file"):
        TlsFolder(tmp_path)
