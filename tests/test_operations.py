"""What operators are told: every log line, every unit and every container is as the page says."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fdss.cli.main import fdss as command_line

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "operations.md"
EXAMPLES = ROOT / "examples"
#: What an operator's log may hold; the log of a training job is its own.
LOGGED = ("fdss", "cli")
LEVELS = ("info", "warning", "error", "exception")

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the documents are not here")


def _logged(path: Path) -> Iterator[tuple[str, str]]:
    """Yield level and text of what a module logs, what differs as an ellipsis."""
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger"), attr=level),
                args=[ast.Constant(value=str(text)), *_],
            ) if level in LEVELS and text.strip("%s "):
                shown = re.sub(r"%(\.\d+f|[a-z])", "…", text)
                yield "error" if level == "exception" else level, shown
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="logger"), attr="log"),
                args=[_, ast.Constant(value=str(text)), *_],
            ) if text.strip("%s "):
                # The line of each request has no words, and its level is its status's.
                yield "info", text.replace("%s", "…")


def test_every_log_line_is_explained() -> None:
    """The tables of log lines name all that a server or router logs, and nothing else."""
    told = set(
        re.findall(r"^\| `([^`]+)` \| (info|warning|error) \|", PAGE.read_text("utf-8"), re.M)
    )
    logged = {
        (shown, level)
        for part in LOGGED
        for path in sorted((ROOT / part).rglob("*.py"))
        for level, shown in _logged(path)
    }

    assert told == logged


def _commands() -> Iterator[list[str]]:
    for unit in sorted((EXAMPLES / "systemd").glob("*.service")):
        found = re.search(r"^ExecStart=\S*/(fdss .*)$", unit.read_text("utf-8"), re.M)
        assert found is not None, unit
        yield shlex.split(found[1])[1:]
    for manifest in sorted((EXAMPLES / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(manifest.read_text("utf-8")):
            template = document.get("spec", {}).get("template", {})
            for container in template.get("spec", {}).get("containers", []):
                yield container["command"][1:]


@pytest.mark.parametrize("command", [pytest.param(each, id=" ".join(each)) for each in _commands()])
def test_what_is_started_is_a_command(command: list[str]) -> None:
    """The commands of units and manifests exist, with their flags."""
    flags = [word for word in command if word.startswith("-")]
    words = command[: command.index(flags[0])] if flags else command
    shown = CliRunner().invoke(command_line, [*words, "--help"])

    assert shown.exit_code == 0, shown.output
    assert [flag for flag in flags if flag not in shown.output] == []


def test_the_image_starts_a_command() -> None:
    """The image's own command exists, and nothing in it runs as root."""
    lines = (EXAMPLES / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    command = yaml.safe_load(next(line for line in lines if line.startswith("CMD "))[4:])
    shown = CliRunner().invoke(command_line, [command[0], "--help"])

    assert shown.exit_code == 0, shown.output
    assert [word for word in command[1::2] if word not in shown.output] == []
    assert lines.index("USER 1000") < lines.index('ENTRYPOINT ["fdss"]')
