"""The documents name what exists, and what exists stands in the documents."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner
from pages import (
    PAGES,
    PROTOCOL,
    README,
    ROOT,
    all_of,
    code,
    code_blocks,
    command_of,
    flags_of,
    table,
)

from fdss.cli.main import LAZY, fdss
from fdss.client.loader import SERVER_VARIABLE
from fdss.client.session import ServerSession
from fdss.config import ServerConfig
from fdss.serving import Server
from fdss.tokens import TOKEN_VARIABLE
from fdss.wire import names

each_page = pytest.mark.parametrize("page", PAGES)


def _shell_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every fdss command in the shell blocks of a page."""
    for block in code_blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for piped, part in groupby(words, lambda word: word == "|"):
                command = [] if piped else list(part)
                if command[:1] == ["fdss"]:
                    yield command[1:]


#: Programs with flags of their own.
FOREIGN = tuple(
    f"`{name} "
    for name in ("docker", "mypy", "pip", "pytest", "python", "ruff", "ssh", "torchrun", "tox")
)
DOCKER_FLAGS = {"--health-cmd", "--ulimit"}
ALL_FLAGS = {flag for name in LAZY for flag in flags_of(command_of(name))} | {"--help", "--version"}


@each_page
def test_shell_blocks_are_commands_that_parse(page: str) -> None:
    """Every fdss command in a shell block parses: command, flags and their values exist."""
    for words in _shell_commands(PAGES[page]):
        with fdss.make_context("fdss", list(words)) as group:
            name, _, rest = fdss.resolve_command(group, list(words))
        assert name in LAZY
        _parse(command_of(str(name)), _without_paths(rest))


def _without_paths(words: list[str]) -> list[str]:
    """Return words without named folders: those of the documents do not exist here."""
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if "--local" not in (before, word)
    ]


def _parse(command: click.Command, given: list[str]) -> None:
    with command.make_context(command.name, list(given)) as ctx:
        if isinstance(command, click.Group):
            _, inner, rest = command.resolve_command(ctx, list(given))
            assert inner is not None
            _parse(inner, rest)


def test_pages_show_commands() -> None:
    """The documents show dozens of commands, the README some of them: the test above sees them."""
    assert len([words for page in PAGES.values() for words in _shell_commands(page)]) > 40
    assert len(list(_shell_commands(README))) >= 3


@each_page
def test_flags_in_the_text_exist(page: str) -> None:
    """Every flag that stands in code in the text is a flag of a command."""
    found = {
        flag
        for span in re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
        if not span.startswith(FOREIGN)
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span)
    }

    assert sorted(found - ALL_FLAGS - DOCKER_FLAGS) == []


@pytest.mark.parametrize("name", LAZY)
def test_every_command_stands_in_the_readme(name: str) -> None:
    """Every command is named in the README."""
    assert re.search(rf"fdss {name}\b", README)


@each_page
def test_commands_in_the_text_exist(page: str) -> None:
    """Every command that the text calls by its full name exists."""
    found = re.findall(r"`fdss ([a-z][a-z-]*)", PAGES[page])
    inner = re.findall(r"`fdss tls ([a-z][a-z-]*)", PAGES[page])
    known = {command.name for command in all_of(command_of("tls"))}

    assert sorted(set(found) - set(LAZY)) == []
    assert sorted(set(inner) - known) == []


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


@each_page
def test_endpoints_in_the_text_exist(page: str) -> None:
    """Every path under /v1 in the documents is one of the table's."""
    known = {code(row[0])[0].split()[1] for row in table(PROTOCOL, "| endpoint | token | answer |")}
    found = {
        re.sub(r"datasets/[0-9a-f]{16}", "datasets/{handle}", path.rstrip("."))
        for path in re.findall(r"/v1/[a-z0-9/{}.]+", PAGES[page])
    }

    assert sorted(found - known) == []


@each_page
def test_json_in_the_documents_is_json(page: str) -> None:
    """Every JSON block parses."""
    for block in code_blocks(PAGES[page], "json"):
        assert isinstance(yaml.safe_load(block), dict)


@each_page
def test_python_in_the_documents_is_python(page: str) -> None:
    """Every Python block compiles, and imports only names that exist."""
    for block in code_blocks(PAGES[page], "python"):
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
    commands = all_of(command_of(name))

    assert all(command.help for command in commands)
    assert [
        option.name
        for command in commands
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ] == []


def test_arrow_program_runs(sample_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol's Arrow program runs as it stands, but for the address and the handle."""
    (program,) = code_blocks(PROTOCOL, "python")
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as server:
        monkeypatch.setenv(TOKEN_VARIABLE, str(server.token))
        with closing(ServerSession(server.url)) as session:
            handle = session.post_json(names.LOAD_PATH, {"path": "local/sample"})["handle"]
        program = program.replace("http://127.0.0.1:8766", server.url)
        scope: dict[str, Any] = {}
        exec(compile(program.replace("0123456789abcdef", handle), "protocol.md", "exec"), scope)

    assert scope["table"].num_rows == 1000


@pytest.mark.torch
# torchdata 0.11 under a newer torch.
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
# Whatever the number of cores.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("page", ["docs/torch.md", "docs/lightning.md", "docs/notebook.md"])
def test_programs_of_a_how_to_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python blocks of a page run in their order, but for the address of the server."""
    from datasets import Dataset

    folder = tmp_path / "stories"
    Dataset.from_dict({"text": [f"Story {row}." for row in range(10_000)]}).save_to_disk(folder)
    scope: dict[str, Any] = {}
    with Server(ServerConfig(port=0, local={"stories": folder})) as server:
        monkeypatch.setenv(SERVER_VARIABLE, server.url)
        for block in code_blocks(PAGES[page], "python"):
            block = block.replace("http://localhost:8766", server.url)
            exec(compile(block, page, "exec"), scope)
