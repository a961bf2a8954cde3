"""The threats of docs/security.md and the tests that hold them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
HEADER = ["asset", "attacker", "what stops them", "tests"]
ATTACKERS = {
    "stranger",
    "client",
    "other user",
    "dataset",
    "network",
    "server",
    "page in a browser",
    "none, by accident",
    "who reads them",
    "who reads the pickle",
    "who has a certificate of it",
}


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if row != HEADER]


ROWS = _rows()


def _tests_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_threat_is_held_by_tests_that_exist(row: list[str]) -> None:
    """A row has an asset, an attacker of the model, what stops them, and one test or more."""
    asset, attacker, defence, tests = row
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)

    assert asset and defence
    assert attacker in ATTACKERS
    assert named
    assert re.sub(r"`tests/[\w/]+\.py::test_\w+`", "", tests).strip(", ") == ""
    missing = [f"{file}::{test}" for file, test in named if test not in _tests_of(ROOT / file)]
    assert missing == []


def test_no_asset_stands_twice() -> None:
    """The table has a row for each of many threats, and no row twice."""
    assets = [row[0] for row in ROWS]

    assert len(set(assets)) == len(assets) > 40


@pytest.mark.parametrize(
    "words", ["Root on", "operator who means harm", "poisoned", "by bandwidth", "--insecure"]
)
def test_what_is_not_defended_is_told(words: str) -> None:
    """The page says what nobody should rely on."""
    told = PAGE.partition("## What is not defended")[2].partition("## Advice")[0]

    assert words in told
