"""The tables of the documents are those of the code: settings, limits, endpoints, errors."""

from __future__ import annotations

import configparser
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from pages import CONFIGURATION, PROTOCOL, ROOT, code, code_blocks, table

from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.client.limits import ClientLimits
from fdss.config import ServerConfig
from fdss.config_file import read_config_file
from fdss.errors import error_kinds
from fdss.settings import SETTINGS
from fdss.tls.trust import ROOTS_VARIABLE
from fdss.views.parameters import PARAMETERS
from fdss.wire import names, plain, tagged


def test_settings_table_is_the_table_of_settings() -> None:
    """The table of docs/configuration.md has every setting with flags, key, default and help."""
    expected = [
        [
            ", ".join(f"`{flag}`" for flag in reversed(setting.flags)),
            f"`{setting.key}`",
            _default(setting.default, setting.kind),
            setting.help,
        ]
        for setting in SETTINGS
    ]

    assert table(CONFIGURATION, "| flag | key | default | what it does |") == expected


def _default(default: object, kind: type) -> str:
    if kind is bool:
        return "off"
    return f"`{default}`" if default else ""


def test_configuration_example_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The YAML example is a file that the server reads, and says what it is said to say."""
    (example,) = code_blocks(CONFIGURATION, "yaml")
    file = tmp_path / "config.yaml"
    file.write_text(example, "utf-8")

    read = read_config_file(str(file))

    assert set(read.local) == {"stories", "mycorpus"}
    assert read.values == {k: v for k, v in yaml.safe_load(example).items() if k != "local"}


def test_variables_tables_have_every_variable() -> None:
    """The tables of docs/configuration.md have every variable that the source reads, no other."""
    source = "".join(
        path.read_text("utf-8")
        for folder in ("fdss", "client", "cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    rows = [
        *table(CONFIGURATION, "| variable | what it does |"),
        *table(CONFIGURATION, "| variable | default | most that is taken |"),
    ]
    told = [name for row in rows for name in code(row[0])]
    foreign = {ROOTS_VARIABLE, "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}

    assert len(told) == len(set(told))
    assert set(told) == foreign | set(re.findall(r'"(FORGATHER_[A-Z_]+)"', source))


def test_limits_table_is_the_limits_of_the_client() -> None:
    """The table of a client's limits has each with its variable, default and meaning."""
    expected = [
        [f"`{limit.metadata['variable']}`", f"`{limit.default}`", limit.metadata["meaning"]]
        for limit in fields(ClientLimits)
    ]

    assert table(CONFIGURATION, "| variable | default | most that is taken |") == expected


def test_endpoints_table_is_the_url_map() -> None:
    """The protocol's table has every endpoint with its method, and no other."""
    app = create_app(ServerConfig(no_auth=True), Catalog(ServerConfig(no_auth=True)))
    served = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    rows = table(PROTOCOL, "| endpoint | token | answer |")

    assert {name for row in rows for name in code(row[0])} == served


def test_open_endpoints_are_those_the_table_says() -> None:
    """Exactly the endpoints that the table says need no token answer without one."""
    config = ServerConfig(auth_token="secret")
    client = create_app(config, Catalog(config)).test_client()
    for row in table(PROTOCOL, "| endpoint | token | answer |"):
        method, path = code(row[0])[0].split()
        answer = client.open(path.replace("{handle}", "0123456789abcdef"), method=method)

        assert (answer.status_code != 401) == (row[1] == "no"), path


def test_parameters_table_is_what_iter_takes() -> None:
    """The protocol's table has every parameter of /iter."""
    rows = table(PROTOCOL, "| parameter | values | meaning |")

    assert [code(row[0])[0] for row in rows] == list(PARAMETERS)


def test_load_fields_table_is_what_load_takes() -> None:
    """The protocol's table has every field of a load."""
    rows = table(PROTOCOL, "| field | type | meaning |")

    assert [code(row[0])[0] for row in rows] == list(LoadArguments.__dataclass_fields__)


def test_headers_table_has_every_header() -> None:
    """The protocol's table has every header of a response with rows."""
    headers = {value for name, value in vars(names).items() if name.endswith("_HEADER")}
    rows = table(PROTOCOL, "| response header | meaning |")

    assert {code(row[0])[0] for row in rows} == headers | {"ETag"}


def test_media_types_stand_in_the_protocol() -> None:
    """Both media types of rows, and every form of the types header, are named."""
    text = PROTOCOL.replace("`", " ")

    for name in (names.NDJSON, names.ARROW, names.PLAIN, names.TAGGED, names.ARROW_TYPES):
        assert f" {name}" in text


def test_errors_tables_have_every_code() -> None:
    """The protocol's tables have every error code, each with its status or without one."""
    travelling = table(PROTOCOL, "| status | code | meaning |")
    others = table(
        PROTOCOL,
        "Some errors never travel: a program meets them, with the same "
        "three fields.\n\n| code | meaning |",
    )
    kinds = error_kinds()

    assert {code(row[1])[0]: int(row[0]) for row in travelling} == {
        code: kind.status for code, kind in kinds.items() if kind.travels
    }
    assert _codes(others) == {code for code, kind in kinds.items() if not kind.travels}


def _codes(rows: list[list[str]]) -> set[str]:
    return {code(row[0])[0] for row in rows}


def test_tagged_table_has_every_tag() -> None:
    """The protocol's table of the tagged dialect has every tag."""
    tags = {
        value
        for module in (plain, tagged)
        for name, value in vars(module).items()
        if name.endswith("_TAG")
    }
    section = PROTOCOL.partition("### Tagged")[2].partition("\n## ")[0]

    assert set(re.findall(r'"(__[a-z0-9_]+__)"', section)) == tags


def test_lowest_versions_are_those_of_setup() -> None:
    """The environment tests-min installs exactly the lower bounds of setup.py."""
    setup = (ROOT / "setup.py").read_text("utf-8")
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", "utf-8")
    bounds = dict(re.findall(r'"([a-z0-9]+)>=([0-9.]+)', setup))
    pins = dict(re.findall(r"^([a-z0-9]+)==([0-9.]+)$", tox["testenv:tests-min"]["deps"], re.M))

    assert {name: _padded(pins.get(name, "0")) for name in bounds} == {
        name: _padded(bound) for name, bound in bounds.items()
    }
    assert set(pins) == set(bounds)


def _padded(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))
