"""Files that are replaced together, and processes that die meanwhile."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fdss.tls.folder import TlsFolder
from fdss.tls.staging import PRIVATE, File, replace_together

Run = Callable[..., "subprocess.CompletedProcess[str]"]

# Runs a call again and again, each time stopped before another one of its changes of a name.
STOPPED = """
import itertools, os, sys
from pathlib import Path
from fdss.tls import provisioning
from fdss.tls.certificates import is_pair, read_certificates, read_key
from fdss.tls.folder import TlsFolder
from fdss.tls.names import Names

left = 0

def watch(event, arguments):
    global left
    if event in ("os.rename", "os.remove") and left:
        left -= 1
        if not left:
            {stop}

def call():
    {call}

def check():
    for cert, key in (folder.server_cert, folder.server_key), (folder.ca_cert, folder.ca_key):
        if cert.exists() and key.exists():
            assert is_pair(read_certificates(cert)[0], read_key(key)), (cert, stops)
    {check}

folder = TlsFolder(Path(sys.argv[1]))
sys.addaudithook(watch)
for stops in itertools.count(1):
    {attempt}
    check()
    left = 0
    provisioning.init(folder, Names(), ca_name=None, force=True)
    if was_whole:
        break
print(stops)
"""
CALLS = {
    "force": "provisioning.init(folder, Names(), ca_name=None, force=True)",
    "renew": "provisioning.renew(folder, Names(), with_authority=False)",
}
KILLED = {
    "stop": "os._exit(9)",
    "check": "pass",
    "attempt": """left = stops
    child = os.fork()
    if not child:
        call()
        os._exit(0)
    was_whole = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0""",
}
FAILED = {
    "stop": "raise OSError('stopped')",
    "check": """keys = sorted(path.name for path in folder.root.rglob("*.key*"))
    assert keys == ["ca.key", "server.key"], (keys, stops)""",
    "attempt": """left = stops
    try:
        call()
        was_whole = bool(left)
    except (OSError, KeyboardInterrupt):
        was_whole = False""",
}
INTERRUPTED = {**FAILED, "stop": "raise KeyboardInterrupt('stopped')"}


@pytest.mark.only_on("linux", "darwin")
@pytest.mark.parametrize("call", CALLS)
def test_a_command_that_is_killed_leaves_no_pair_that_does_not_match(
    run_python: Run, made: TlsFolder, call: str
) -> None:
    """Killed before any of its changes, a command leaves pairs that match, and can be repeated."""
    ended = run_python("-c", STOPPED.format(call=CALLS[call], **KILLED), str(made.root))

    assert int(ended.stdout) > 5


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("how", [FAILED, INTERRUPTED], ids=["fails", "interrupted"])
def test_a_command_that_fails_leaves_no_pair_that_does_not_match(
    run_python: Run, made: TlsFolder, call: str, how: dict[str, str]
) -> None:
    """When a change fails or is interrupted, the pairs match, and no private key is left over."""
    ended = run_python("-c", STOPPED.format(call=CALLS[call], **how), str(made.root))

    assert int(ended.stdout) > 5


def test_nothing_changes_when_a_folder_cannot_be_written(tmp_path: Path) -> None:
    """A file that cannot be put anywhere leaves all the others as they were."""
    first, second = tmp_path / "tls" / "a.key", tmp_path / "tls" / "nothing" / "b.crt"
    first.parent.mkdir()
    first.write_bytes(b"old")
    second.parent.write_bytes(b"no folder")

    with pytest.raises(OSError):
        replace_together([File(first, b"new", PRIVATE), File(second, b"new")], [first])
    assert first.read_bytes() == b"old"
    assert sorted(path.name for path in first.parent.iterdir()) == ["a.key", "nothing"]


@pytest.mark.only_on("linux", "darwin")
def test_modes_are_those_that_were_asked_for(tmp_path: Path) -> None:
    """A private file is 0600 and a public one 0644, whatever the umask."""
    private, public = tmp_path / "new" / "a.key", tmp_path / "new" / "a.crt"
    for mask in (0, 0o077):
        before = os.umask(mask)
        try:
            replace_together([File(private, b"x", PRIVATE), File(public, b"x")])
        finally:
            os.umask(before)

        assert private.stat().st_mode & 0o777 == 0o600
        assert public.stat().st_mode & 0o777 == 0o644
        assert private.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.only_on("linux", "darwin")
def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    """A certificate that is a symbolic link is replaced; the file it led to stays."""
    theirs, link = tmp_path / "theirs.crt", tmp_path / "server.crt"
    theirs.write_bytes(b"theirs")
    link.symlink_to(theirs)
    replace_together([File(link, b"ours")], [link])

    assert (link.read_bytes(), theirs.read_bytes()) == (b"ours", b"theirs")
    assert not link.is_symlink()
