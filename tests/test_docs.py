"""The documents name what exists, and what exists stands in the documents."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from click.testing import CliRunner

from fdss.app import create_app
from fdss.arguments import LoadArguments
from fdss.catalog import Catalog
from fdss.cli.main import LAZY, fdss
from fdss.client import cluster, hedging, patience
from fdss.client.limits import ClientLimits
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.config_file import read_config_file
from fdss.errors import error_kinds
from fdss.serving import Server
from fdss.settings import SETTINGS
from fdss.tls.trust import CERT_VARIABLE, KEY_VARIABLE, ROOTS_VARIABLE
from fdss.tokens import TOKEN_VARIABLE
from fdss.views.parameters import PARAMETERS
from fdss.wire import names, plain, tagged

if TYPE_CHECKING:
    from datasets import Dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text("utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
}

each_page = pytest.mark.parametrize("page", PAGES)


def _table(text: str, header: str) -> list[list[str]]:
    """Return the cells of the table under a header line."""
    lines = text.partition(f"{header}\n")[2].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert rows, f"no table under {header!r}"
    return rows


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _shell_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every fdss command in the shell blocks of a page."""
    for block in _blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["fdss"]:
                yield words[1:]


def _command(name: str) -> click.Command:
    module, function, _ = LAZY[name]
    command: click.Command = getattr(importlib.import_module(module), function)
    return command


def _all_of(command: click.Command) -> list[click.Command]:
    """Return a command with those of its group."""
    return [command, *(command.commands.values() if isinstance(command, click.Group) else ())]


def _flags(command: click.Command) -> set[str]:
    options = [option for each in _all_of(command) for option in each.params]
    return {flag for option in options for flag in option.opts if flag.startswith("-")}


ALL_FLAGS = {flag for name in LAZY for flag in _flags(_command(name))} | {"--help", "--version"}


@each_page
def test_shell_blocks_are_commands_that_parse(page: str) -> None:
    """Every fdss command in a shell block parses: command, flags and their values exist."""
    for words in _shell_commands(PAGES[page]):
        with fdss.make_context("fdss", list(words)) as group:
            name, _, rest = fdss.resolve_command(group, list(words))
        assert name in LAZY
        # Paths in the documents do not exist here.
        given = [word for word in rest if "=/" not in word and word != "--local"]
        _parse(_command(str(name)), given)


def _parse(command: click.Command, given: list[str]) -> None:
    with command.make_context(command.name, list(given)) as ctx:
        if isinstance(command, click.Group):
            _, inner, rest = command.resolve_command(ctx, list(given))
            assert inner is not None
            _parse(inner, rest)


def test_readme_begins_with_commands_that_parse() -> None:
    """The README shows more than a handful of commands, so the test above sees them."""
    assert len(list(_shell_commands(README))) >= 8


@each_page
def test_flags_in_the_text_exist(page: str) -> None:
    """Every flag that stands in code in the text is a flag of a command."""
    found = {
        flag
        for span in re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
        if not span.startswith(("`pip", "`tox", "`mypy", "`ruff", "`pytest"))
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
    }

    assert sorted(found - ALL_FLAGS) == []


@pytest.mark.parametrize("name", LAZY)
def test_every_command_stands_in_the_readme(name: str) -> None:
    """Every command is named in the README."""
    assert re.search(rf"fdss {name}\b", README)


def test_every_diagnostic_flag_stands_in_the_documents() -> None:
    """Every flag of the commands other than start is named in README or docs."""
    text = README + CONFIGURATION + PROTOCOL + PAGES["docs/tls.md"] + PAGES["docs/cluster.md"]
    flags = {flag for name in LAZY if name != "start" for flag in _flags(_command(name))}

    assert sorted(flag for flag in flags if not re.search(rf"{flag}\b", text)) == []


@each_page
def test_commands_in_the_text_exist(page: str) -> None:
    """Every command that the text calls by its full name exists."""
    found = re.findall(r"`fdss ([a-z][a-z-]*)", PAGES[page])
    inner = re.findall(r"`fdss tls ([a-z][a-z-]*)", PAGES[page])
    known = {command.name for command in _all_of(_command("tls"))}

    assert sorted(set(found) - set(LAZY)) == []
    assert sorted(set(inner) - known) == []


def test_settings_table_is_the_table_of_settings() -> None:
    """The README's table has every setting with its flags, key, default and help."""
    expected = [
        [
            ", ".join(f"`{flag}`" for flag in reversed(setting.flags)),
            f"`{setting.key}`",
            _default(setting.default, setting.kind),
            setting.help,
        ]
        for setting in SETTINGS
    ]

    assert _table(README, "| flag | key | default | what it does |") == expected


def _default(default: object, kind: type) -> str:
    if kind is bool:
        return "off"
    return f"`{default}`" if default else ""


def test_configuration_example_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The YAML example is a file that the server reads, and says what it is said to say."""
    (example,) = _blocks(CONFIGURATION, "yaml")
    file = tmp_path / "config.yaml"
    file.write_text(example, "utf-8")

    read = read_config_file(str(file))

    assert set(read.local) == {"stories", "mycorpus"}
    assert read.values == {k: v for k, v in yaml.safe_load(example).items() if k != "local"}


@pytest.mark.parametrize(
    "variable",
    [
        SERVER_VARIABLE,
        TOKEN_VARIABLE,
        ROOTS_VARIABLE,
        CERT_VARIABLE,
        KEY_VARIABLE,
        patience.CAP_VARIABLE,
        patience.STALL_VARIABLE,
        hedging.VARIABLE,
        cluster.URL_VARIABLE,
        cluster.TOKEN_VARIABLE,
    ],
)
def test_client_variables_stand_in_the_readme(variable: str) -> None:
    """Every environment variable of the client stands in the README's table."""
    table = _table(README, "| variable | what it does |")

    assert variable in [name for row in table for name in _code(row[0])]


def test_limits_table_is_the_limits_of_the_client() -> None:
    """The table of a client's limits has each with its variable, default and meaning."""
    expected = [
        [f"`{limit.metadata['variable']}`", f"`{limit.default}`", limit.metadata["meaning"]]
        for limit in fields(ClientLimits)
    ]

    assert _table(CONFIGURATION, "| variable | default | most that is taken |") == expected


@each_page
def test_variables_in_the_text_are_read(page: str) -> None:
    """Every FORGATHER_ variable in the documents is one that the source names."""
    source = "".join(
        path.read_text("utf-8")
        for folder in ("fdss", "client", "cli")
        for path in (ROOT / folder).rglob("*.py")
    )
    found = set(re.findall(r"\bFORGATHER_[A-Z_]+", PAGES[page]))

    assert sorted(name for name in found if f'"{name}"' not in source) == []


def test_endpoints_table_is_the_url_map() -> None:
    """The protocol's table has every endpoint with its method, and no other."""
    app = create_app(ServerConfig(no_auth=True), Catalog(ServerConfig(no_auth=True)))
    served = {
        f"{method} {rule.rule.replace('<', '{').replace('>', '}')}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    table = _table(PROTOCOL, "| endpoint | token | answer |")

    assert {name for row in table for name in _code(row[0])} == served


def test_open_endpoints_are_those_the_table_says() -> None:
    """Exactly the endpoints that the table says need no token answer without one."""
    config = ServerConfig(auth_token="secret")
    client = create_app(config, Catalog(config)).test_client()
    for row in _table(PROTOCOL, "| endpoint | token | answer |"):
        method, path = _code(row[0])[0].split()
        answer = client.open(path.replace("{handle}", "0123456789abcdef"), method=method)

        assert (answer.status_code != 401) == (row[1] == "no"), path


@each_page
def test_endpoints_in_the_text_exist(page: str) -> None:
    """Every path under /v1 in the documents is one of the table's."""
    known = {
        _code(row[0])[0].split()[1] for row in _table(PROTOCOL, "| endpoint | token | answer |")
    }
    found = {
        re.sub(r"datasets/[0-9a-f]{16}", "datasets/{handle}", path.rstrip("."))
        for path in re.findall(r"/v1/[a-z0-9/{}.]+", PAGES[page])
    }

    assert sorted(found - known) == []


def test_parameters_table_is_what_iter_takes() -> None:
    """The protocol's table has every parameter of /iter."""
    table = _table(PROTOCOL, "| parameter | values | meaning |")

    assert [_code(row[0])[0] for row in table] == list(PARAMETERS)


def test_load_fields_table_is_what_load_takes() -> None:
    """The protocol's table has every field of a load."""
    table = _table(PROTOCOL, "| field | type | meaning |")

    assert [_code(row[0])[0] for row in table] == list(LoadArguments.__dataclass_fields__)


def test_headers_table_has_every_header() -> None:
    """The protocol's table has every header of a response with rows."""
    headers = {value for name, value in vars(names).items() if name.endswith("_HEADER")}
    table = _table(PROTOCOL, "| response header | meaning |")

    assert {_code(row[0])[0] for row in table} == headers | {"ETag"}


def test_media_types_stand_in_the_protocol() -> None:
    """Both media types of rows, and every form of the types header, are named."""
    text = PROTOCOL.replace("`", " ")

    for name in (names.NDJSON, names.ARROW, names.PLAIN, names.TAGGED, names.ARROW_TYPES):
        assert f" {name}" in text


def test_errors_tables_have_every_code() -> None:
    """The protocol's tables have every error code, each with its status or without one."""
    travelling = _table(PROTOCOL, "| status | code | meaning |")
    others = _table(
        PROTOCOL,
        "Some errors never travel: a program meets them, with the same "
        "three fields.\n\n| code | meaning |",
    )
    kinds = error_kinds()

    assert {_code(row[1])[0]: int(row[0]) for row in travelling} == {
        code: kind.status for code, kind in kinds.items() if kind.travels
    }
    assert _codes(others) == {code for code, kind in kinds.items() if not kind.travels}


def _codes(table: list[list[str]]) -> set[str]:
    return {_code(row[0])[0] for row in table}


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


@each_page
def test_json_in_the_documents_is_json(page: str) -> None:
    """Every JSON block parses."""
    for block in _blocks(PAGES[page], "json"):
        assert isinstance(yaml.safe_load(block), dict)


@each_page
def test_python_in_the_documents_is_python(page: str) -> None:
    """Every Python block compiles, and imports only names that exist."""
    for block in _blocks(PAGES[page], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fdss"):
                module = importlib.import_module(str(node.module))
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []


@each_page
def test_links_lead_somewhere(page: str) -> None:
    """Every link to a file of the project leads to a file, and to a heading if it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if "://" in target:
            continue
        file, _, heading = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page

        assert path.is_file(), target
        assert not heading or heading in _anchors(path.read_text("utf-8")), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@each_page
def test_named_tests_exist(page: str) -> None:
    """Every test that a page names by its path and name exists."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES[page]):
        assert name in _functions(ROOT / path), f"{path}::{name}"


@cache
def _functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_guarantee_names_its_tests() -> None:
    """Behind every guarantee of docs/exactness.md stand its limits and the tests that hold it."""
    _, *guarantees = re.split(r"^> ", PAGES["docs/exactness.md"], flags=re.MULTILINE)

    assert len(guarantees) > 10
    for guarantee in guarantees:
        assert re.search(r"^- ", guarantee, re.MULTILINE), guarantee
        assert re.search(r"^Held by `tests/", guarantee, re.MULTILINE), guarantee


@each_page
def test_prose_has_one_sentence_a_line(page: str) -> None:
    """No line of prose holds the end of one sentence and the beginning of the next."""
    prose = re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith("|")]

    assert [line for line in lines if re.search(r"(?<!\d)[.?!] [A-Z]", line)] == []


def test_help_names_every_command_with_its_line() -> None:
    """``fdss --help`` lists every command with its line of the table."""
    output = CliRunner().invoke(fdss, ["--help"]).output
    for name, (_, _, line) in LAZY.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", output, re.MULTILINE)


@pytest.mark.parametrize("name", LAZY)
def test_every_command_and_flag_has_help(name: str) -> None:
    """Every command and every flag of it says what it does."""
    commands = _all_of(_command(name))

    assert all(command.help for command in commands)
    assert [
        option.name
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ] == []


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


def test_arrow_program_runs(sample_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's Arrow program runs as it stands, but for the address and the handle."""
    (program,) = _blocks(PROTOCOL, "python")
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as server:
        monkeypatch.setenv(TOKEN_VARIABLE, str(server.token))
        with closing(ServerSession(server.url)) as session:
            handle = session.post_json(names.LOAD_PATH, {"path": "local/sample"})["handle"]
        program = program.replace("http://127.0.0.1:8766", server.url)
        scope: dict[str, Any] = {}
        exec(compile(program.replace("0123456789abcdef", handle), "protocol.md", "exec"), scope)

    assert scope["table"].num_rows == 1000


@pytest.mark.torch
def test_readme_programs_run(
    sample_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's programs run as they stand; the last one is a rank of two."""
    sample_dataset.select_columns("text").save_to_disk(str(tmp_path / "stories"))
    config = ServerConfig(port=0, local={"stories": tmp_path / "stories"})
    batches: list[Any] = []
    scope: dict[str, Any] = {
        "rank": 1,
        "world_size": 2,
        "epochs": 2,
        "checkpoint": None,
        "is_time_to_save": True,
        "train": batches.append,
    }
    with Server(config) as server:
        monkeypatch.setenv(SERVER_VARIABLE, server.url)
        for block in _blocks(README, "python"):
            exec(compile(block, "README.md", "exec"), scope)
        scope["rows"].close()

    assert scope["first"] != scope["second"]
    assert scope["second"]["characters"] == len(scope["second"]["text"])
    half = len(sample_dataset) // 2
    assert sum(len(batch["text"]) for batch in batches) == 2 * -(-half // 32) * 32
    assert scope["checkpoint"]["epoch"] == 1 and scope["checkpoint"]["ended"]
