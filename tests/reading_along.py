"""What a reader has before them: machines with terminals, in which a page's blocks run in order."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from clusters import eventually

import fdss

TIMEOUT_S = 300.0
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: The first line of a block says where it belongs.
PLACE = re.compile(
    r"# (?:On (the data host|the workstation|every node)\b|([a-z_]+\.py)$)", re.MULTILINE
)
#: Commands that run until they are stopped, and what they say once they answer.
SERVICES = ("fdss start", "fdss router start")
ANSWERS = re.compile(r"^\w+ URL: ", re.MULTILINE)

_INTERPRETER = """
import json, sys
scope = {"__name__": "__main__"}
for line in sys.stdin:
    exec(compile(json.loads(line), "block", "exec"), scope)
    print("\\0", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Attributes:
        language: As the page says it.
        code: Its lines.
        place: Machine it belongs to, in the page's words; empty where it says none.
        file: File that a reader saves it as; empty where it is typed.
    """

    language: str
    code: str
    place: str = ""
    file: str = ""


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = []
    for language, code in BLOCK.findall(page):
        place = PLACE.match(code)
        found.append(Block(language, code, *(place.groups("") if place else ())))
    return found


@dataclass
class Machine:
    """A machine with a home of its own, on which a reader has one terminal, and one for services.

    Attributes:
        home: Its home folder, where the terminal begins.
        changes: What stands on the page, and what stands for it here: names and ports.
        services: Processes that run until they are stopped, by their command.
    """

    home: Path
    changes: Mapping[str, str] = field(default_factory=dict)
    services: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _python: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        """Install the commands under test, as a reader has."""
        self.home.mkdir()
        self._exports = self.home.parent / f"{self.home.name}-exports"
        self._exports.touch()
        self.install("python", f'{sys.executable} "$@"')
        self.install("fdss", f'{sys.executable} -m fdss "$@"')
        self.install("torchrun", f'{sys.executable} -m torch.distributed.run "$@"')

    def install(self, command: str, line: str) -> None:
        """Put a command on the path that runs a line of shell."""
        file = self.home.parent / f"{self.home.name}-bin" / command
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\nexec {line}\n", "utf-8")
        file.chmod(0o755)

    def run(self, block: Block) -> str:
        """Run a block in the terminal, and return what it prints.

        A command that serves goes on in the background, once it answers.
        """
        code = self.changed(block.code)
        if block.file:
            (self.home / block.file).write_text(code, "utf-8")
            return ""
        if block.language == "python":
            return self._type(code)
        *before, last = code.strip().splitlines(keepends=True)
        for service in SERVICES:
            if last.startswith(service):
                self.stop(service)
                printed = self.shell("".join(before))
                self._serve(service, last)
                return printed
        return self.shell(code)

    def changed(self, text: str) -> str:
        """Return what stands here for what stands on a page."""
        for there, here in self.changes.items():
            text = text.replace(there, here)
        return text

    def shell(self, code: str) -> str:
        """Run commands; what they export is there for the next ones."""
        script = f". {self._exports}\ntrap 'export -p > {self._exports}' EXIT\n{code}"
        log = self.home.parent / f"{self.home.name}-log"
        # Not a pipe: what goes on in the background would keep it open.
        with log.open("wb") as printed:
            ended = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_S,
                check=False,
            )
        told = log.read_text("utf-8")
        assert ended.returncode == 0, f"{code}\n{told}"
        return told

    def environment(self) -> dict[str, str]:
        """Return what a fresh terminal has."""
        cleared = ("XDG_", "HF_HOME")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(cleared)}
        path = f"{self.home}-bin{os.pathsep}{os.environ['PATH']}"
        found = str(Path(fdss.__file__).parents[1])
        return {**kept, "HOME": str(self.home), "PATH": path, "PYTHONPATH": found}

    def close(self) -> None:
        """Stop all that runs."""
        if self._python is not None:
            self._python.communicate(timeout=TIMEOUT_S)
        for service in reversed([*self.services]):
            self.stop(service)

    def stop(self, service: str) -> None:
        """Stop a service with Ctrl-C, if it runs."""
        process = self.services.pop(service, None)
        if process is not None:
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_S)

    def _serve(self, name: str, command: str) -> None:
        log = self.home.parent / f"{self.home.name}-{name.replace(' ', '-')}"
        with log.open("wb") as printed:
            service = subprocess.Popen(
                ["bash", "-c", f". {self._exports}\nexec {command}"],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        self.services[name] = service

        def has_begun() -> bool:
            told = log.read_text("utf-8")
            assert service.poll() is None, told
            return ANSWERS.search(told) is not None

        eventually(has_begun, TIMEOUT_S)

    def _type(self, code: str) -> str:
        if self._python is None:
            script = self.home.parent / f"{self.home.name}-interpreter.py"
            script.write_text(_INTERPRETER, "utf-8")
            self._python = subprocess.Popen(
                ["bash", "-c", f". {self._exports}\nexec python {script}"],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert self._python.stdin is not None and self._python.stdout is not None
        self._python.stdin.write(json.dumps(code) + "\n")
        self._python.stdin.flush()
        told = ""
        while "\0" not in told:
            line = self._python.stdout.readline()
            told += line or pytest.fail(f"{code}\n{told}")
        return told


@contextlib.contextmanager
def machines(**made: Machine) -> Iterator[dict[str, Machine]]:
    """Yield machines by the words of the pages, and stop all that runs on them."""
    words = {name.replace("_", " "): machine for name, machine in made.items()}
    try:
        yield words
    finally:
        for machine in made.values():
            machine.close()


def read_along(page: str, places: Mapping[str, Machine]) -> list[str]:
    """Run every block of a page as a reader would, and return what each has printed.

    A block that names no machine belongs to the one of the block before it, the first to the first.
    """
    printed = []
    place = next(iter(places))
    for block in blocks(page):
        place = block.place or place
        assert block.language in ("bash", "python"), f"a block of {block.language!r} runs nowhere"
        printed.append(places[place].run(block))
    return printed
