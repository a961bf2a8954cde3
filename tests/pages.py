"""The documents as tests read them: pages, their tables and blocks, and the commands they name."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click

from fdss.cli.main import LAZY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text("utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
}


def table(text: str, header: str) -> list[list[str]]:
    """Return the cells of the table under a header line."""
    lines = text.partition(f"{header}\n")[2].splitlines()[1:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert rows, f"no table under {header!r}"
    return rows


def code(cell: str) -> list[str]:
    """Return what stands in code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def code_blocks(text: str, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_of(name: str) -> click.Command:
    """Return a command of ``fdss``."""
    module, function, _ = LAZY[name]
    command: click.Command = getattr(importlib.import_module(module), function)
    return command


def all_of(command: click.Command) -> list[click.Command]:
    """Return a command with those of its group."""
    return [command, *(command.commands.values() if isinstance(command, click.Group) else ())]


def flags_of(command: click.Command) -> set[str]:
    """Return the flags of a command and of those in its group."""
    options = [option for each in all_of(command) for option in each.params]
    return {flag for option in options for flag in option.opts if flag.startswith("-")}
