"""The benchmarks run: the quick form of those that need nothing beyond FDSS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("whole-batches", "stalled-clients", "opening")

# Appended, so that an installed fdss comes before that of the checkout.
RUN = """
import sys

sys.path.append({root!r})
from benchmarks.run import main

if __name__ == "__main__":
    main({arguments!r})
"""


@pytest.mark.long
@pytest.mark.only_on("linux")
def test_quick_benchmarks_print_their_tables(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Each benchmark of a quick run prints at least one line, and every line a figure."""
    folder = str(tmp_path / "data")
    arguments = ["--quick", "--peers", "sockets", "--folder", folder, "--only", *NAMES]
    program = tmp_path / "program.py"
    program.write_text(RUN.format(root=str(ROOT), arguments=arguments), "utf-8")

    lines = run_python(str(program)).stdout.splitlines()

    cells = [line.split(" | ") for line in lines]
    assert {line[0] for line in cells} == set(NAMES)
    assert all(any(character.isdigit() for character in line[2]) for line in cells)


@pytest.mark.long
@pytest.mark.only_on("linux")
def test_quick_shuffle_quality_prints_its_tables(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A quick run of the shuffle's scores fills every section of its document with figures."""
    folder = str(tmp_path / "data")
    arguments = ["--quick", "--peers", "--folder", folder]
    program = tmp_path / "program.py"
    command = RUN.replace("benchmarks.run", "benchmarks.shuffle_quality")
    program.write_text(command.format(root=str(ROOT), arguments=arguments), "utf-8")

    _, *printed = re.split(r"^## ", run_python(str(program)).stdout, flags=re.MULTILINE)

    document = (ROOT / "docs" / "shuffle.md").read_text("utf-8")
    sections = re.findall(r"^<!-- begin (.+) -->$", document, re.MULTILINE)
    assert sorted(section.partition("\n")[0] for section in printed) == sorted(sections)
    assert all(re.search(r"\d", section.partition("\n")[2]) for section in printed)
