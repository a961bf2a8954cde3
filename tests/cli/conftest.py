"""A running server, and the command line as a person calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Ended, Run

from fdss.cli.main import fdss
from fdss.config import ServerConfig
from fdss.serving import Server


@pytest.fixture
def run_fdss(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a call that runs ``fdss`` with its arguments, in this process."""

    def run(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as ended:
            fdss.main(list(arguments), prog_name="fdss")
        printed = capsys.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def server(home: Path, sample_folder: Path) -> Iterator[Server]:
    """Run a server that offers the sample rows as local/sample, its token kept at home."""
    with Server(ServerConfig(port=0, local={"sample": sample_folder})) as running:
        yield running
