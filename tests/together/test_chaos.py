"""Whatever befalls a cluster while a job reads, the job reads the rows of an undisturbed one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = {
    "all servers killed",
    "port closed",
    "redis restarted",
    "router killed",
    "server ended",
    "server killed",
    "server stopped",
}

# Appended, so that an installed fdss comes before that of the checkout.
RUN = """
import sys

sys.path.append({root!r})
from benchmarks.chaos import main

if __name__ == "__main__":
    main()
"""


@pytest.mark.long
@pytest.mark.torch
def test_twenty_misfortunes_change_no_row(
    run_python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Servers, router and Redis are killed, stopped and closed; every epoch has the same rows."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    program = tmp_path / "program.py"
    program.write_text(RUN.format(root=str(ROOT)), "utf-8")

    ended = run_python(str(program), "--rounds", "20", "--seed", "1", "--rows", "6000")

    happened, told, failures = ended.stdout.splitlines()
    assert {kind for _, kind in re.findall(r"(\d+) x ([a-z ]+)", happened)} == KINDS
    assert re.fullmatch(r"20 rounds, \d+ epochs of 6,000 rows, 0 wrong", told)
    # The readers met them: each kind takes a server that is read from.
    assert int(failures.split()[0]) >= 5
