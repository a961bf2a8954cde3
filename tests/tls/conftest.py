"""A TLS folder, and openssl to judge ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from foreign_certificates import OpenSsl

from fdss.tls import provisioning
from fdss.tls.folder import TlsFolder
from fdss.tls.names import Names


@pytest.fixture
def root(home: Path) -> Path:
    """Return where the TLS folder of this test is; it is not there yet."""
    return home / ".config" / "forgather" / "tls"


@pytest.fixture
def made(root: Path) -> TlsFolder:
    """Return a TLS folder after ``init``."""
    with provisioning.changing(root, makes=True) as folder:
        provisioning.init(folder, Names(), ca_name=None, force=False)
    return folder


@pytest.fixture
def openssl(tmp_path: Path) -> OpenSsl:
    """Return a call that runs openssl and returns what it prints."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")

    def run(*arguments: str | Path) -> str:
        ended = subprocess.run(
            [program, *map(str, arguments)],
            check=False,
            capture_output=True,
            cwd=tmp_path,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run
