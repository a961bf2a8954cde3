"""The fdss command itself: help, version, exit codes, and how it is started."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from command_line import Run

from fdss import __version__
from fdss.cli.main import LAZY


def test_version(run_fdss: Run) -> None:
    """--version prints name and version."""
    assert run_fdss("--version").out == f"fdss, version {__version__}\n"


def test_unknown_command_ends_with_2(run_fdss: Run) -> None:
    """A command that does not exist is a usage error."""
    ended = run_fdss("statsu")

    assert ended.code == 2
    assert "statsu" in ended.err


@pytest.mark.parametrize("name", LAZY)
def test_every_command_has_help(run_fdss: Run, name: str) -> None:
    """--help of every command ends with 0 and names the command."""
    ended = run_fdss(name, "--help")

    assert ended.code == 0
    assert ended.out.startswith(f"Usage: fdss {name} ")


def test_module_is_the_command(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """``python -m fdss`` is ``fdss``, name and exit code included."""
    helped = run_python("-m", "fdss", "--help")
    failed = run_python("-m", "fdss", "nothing", check=False)

    assert helped.stdout.startswith("Usage: fdss ")
    assert failed.returncode == 2


def test_errors_have_no_traceback(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """What FDSS refuses is one line and a hint on standard error, in a process of its own too."""
    failed = run_python("-m", "fdss", "status", "--server", "ftp://x", check=False)

    assert (failed.returncode, failed.stdout) == (1, "")
    assert len(failed.stderr.splitlines()) == 2
